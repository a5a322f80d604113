import { catalog, type ErrorCatalog, EXIT } from "../base/index.ts";

const entries = {
  RUN_JOURNAL: {
    exit: EXIT.environment,
    message: { en: "cannot write the journal {path}: {why}", zh: "無法寫入日誌 {path}：{why}" },
    next: {
      en: "free the disk (df -h), then: tessera resume",
      zh: "清出磁碟空間（df -h），再執行：tessera resume",
    },
  },
  RUN_LOCKED: {
    exit: EXIT.usage,
    message: {
      en: "another controller (pid {pid}) already runs {run}",
      zh: "另一個控制器（pid {pid}）已在執行 {run}",
    },
    next: {
      en: "watch it with: tessera status {run}   or stop it with: tessera stop {run}",
      zh: "查看：tessera status {run}；或停止：tessera stop {run}",
    },
  },
  RUN_NOT_FOUND: {
    exit: EXIT.usage,
    message: { en: 'no run "{run}" under {folder}', zh: "{folder} 下沒有任務「{run}」" },
    next: { en: "list the runs with: tessera ps", zh: "列出任務：tessera ps" },
  },
  RUN_AMBIGUOUS: {
    exit: EXIT.usage,
    message: { en: '"{run}" means more than one run: {which}', zh: "「{run}」符合多個任務：{which}" },
    next: { en: "give more of the id", zh: "請給更完整的編號" },
  },
  RUN_NOT_RUNNING: {
    exit: EXIT.usage,
    message: { en: "no controller runs {run}", zh: "{run} 沒有控制器在執行" },
    next: { en: "start it again with: tessera resume {run}", zh: "重新啟動：tessera resume {run}" },
  },
  RUN_FOLDER: {
    exit: EXIT.environment,
    message: { en: "cannot use the run folder {path}: {why}", zh: "無法使用任務資料夾 {path}：{why}" },
    next: { en: "check its permissions and the disk (df -h {path})", zh: "檢查權限與磁碟（df -h {path}）" },
  },
  RUN_PYTHON: {
    exit: EXIT.environment,
    message: { en: "no Python for the engine: {why}", zh: "引擎找不到 Python：{why}" },
    next: { en: "tessera setup   (or set TESSERA_VENV)", zh: "tessera setup（或設定 TESSERA_VENV）" },
  },
  RUN_ENGINE: {
    exit: EXIT.environment,
    message: { en: "the engine does not start: {why}", zh: "引擎無法啟動：{why}" },
    next: { en: "tessera doctor", zh: "tessera doctor" },
  },
  RUN_CHECKPOINT_DAMAGED: {
    exit: EXIT.failedRun,
    message: { en: "{path} is damaged: {why}", zh: "{path} 已損壞：{why}" },
    next: {
      en: "take an older one: tessera export --step N   (tessera status lists them)",
      zh: "改用較舊的檢查點：tessera export --step N（tessera status 列出現有的）",
    },
  },
  RUN_CHECKPOINT_NAMES: {
    exit: EXIT.usage,
    message: {
      en: "{path} does not say what {tensor} is called in a Hugging Face folder: an older version saved it",
      zh: "{path} 未說明 {tensor} 在 Hugging Face 資料夾中的名稱：它由較舊的版本保存",
    },
    next: {
      en: "export it with that version; a run that is not done saves another one: tessera resume, then: tessera export",
      zh: "請以該版本輸出；未完成的任務可再保存一次：tessera resume，然後 tessera export",
    },
  },
  RUN_EXPORT_WRITE: {
    exit: EXIT.environment,
    message: { en: "cannot write the export {path}: {why}", zh: "無法寫出 {path}：{why}" },
    next: {
      en: "free the disk (df -h), or name a folder on another one: tessera export --out FOLDER",
      zh: "清出磁碟空間（df -h），或指定其他磁碟的資料夾：tessera export --out FOLDER",
    },
  },
  RUN_PHASE_MISSING: {
    exit: EXIT.usage,
    message: {
      en: 'this installation cannot do the phase "{phase}" that the recipe asks for',
      zh: "此安裝無法執行配方要求的階段「{phase}」",
    },
    next: {
      en: "remove the section from the recipe, or give packed data and an explicit layout",
      zh: "從配方移除該段，或提供已裝箱資料與明確佈局",
    },
  },
  RUN_MODEL: {
    exit: EXIT.usage,
    message: {
      en: "the model {folder} does not fit the layout: {why}",
      zh: "模型 {folder} 與佈局不合：{why}",
    },
    next: { en: "check model.base and layout of the recipe", zh: "檢查配方的 model.base 與 layout" },
  },
  RUN_NO_TRAINING_DATA: {
    exit: EXIT.usage,
    message: { en: "the recipe names no data to train on", zh: "配方沒有指定訓練資料" },
    next: {
      en: "add a data section: data: { packed: train.safetensors }",
      zh: "加入 data 段：data: { packed: train.safetensors }",
    },
  },
  RUN_DATA_MISSING: {
    exit: EXIT.usage,
    message: { en: "the data to train on is gone: {path}", zh: "訓練資料已不存在：{path}" },
    next: { en: "put the file back, then: tessera resume {run}", zh: "還原該檔案後：tessera resume {run}" },
  },
  RUN_DATA_CHANGED: {
    exit: EXIT.usage,
    message: {
      en: "{path} is not what this run has trained on so far",
      zh: "{path} 已不是此任務至今訓練所用的內容",
    },
    next: {
      en: "put the file back as it was, or start another run of the recipe: tessera run recipe.yaml --label changed",
      zh: "還原該檔案，或為此配方另開任務：tessera run recipe.yaml --label changed",
    },
  },
  RUN_ORDER: {
    exit: EXIT.usage,
    message: {
      en: "cannot train in the order of {file}: {why}",
      zh: "無法依 {file} 的順序訓練：{whyZh}",
    },
    next: {
      en: "write it for this data and layout: tessera balance --trace scan.ndjson --window 0:<multiple of {globalBatch}> --micro-batches <samples / {size}> --order {file}",
      zh: "請為此資料與佈局重寫：tessera balance --trace scan.ndjson --window 0:<{globalBatch} 的倍數> --micro-batches <樣本數 / {size}> --order {file}",
    },
  },
  RUN_STOPPED: {
    exit: EXIT.interrupted,
    message: {
      en: "stopped as asked at step {step}; the checkpoint is safe",
      zh: "依要求停在第 {step} 步；檢查點完好",
    },
    next: { en: "go on with: tessera resume {run}", zh: "繼續：tessera resume {run}" },
  },
  RUN_INTERRUPTED: {
    exit: EXIT.interrupted,
    message: { en: "stopped as asked in the phase {phase}", zh: "依要求停在階段 {phase}" },
    next: { en: "go on with: tessera resume {run}", zh: "繼續：tessera resume {run}" },
  },
  RUN_GATE_REFUSED: {
    exit: EXIT.gateRefused,
    message: { en: "the gate refused this checkpoint", zh: "閘門未放行此檢查點" },
    next: { en: "read {report}", zh: "查看 {report}" },
  },
  RUN_BUDGET: {
    exit: EXIT.failedRun,
    message: {
      en: "{how}; {count} restarts brought no new checkpoint",
      zh: "{how}；重啟 {count} 次後仍無新檢查點",
    },
    next: {
      en: "tessera logs {run}   then mend the cause and: tessera resume {run}",
      zh: "tessera logs {run}，排除原因後：tessera resume {run}",
    },
  },
  RUN_RANK_CRASH: {
    exit: EXIT.failedRun,
    message: { en: "rank {rank} ended with {how}", zh: "進程 {rank} 以 {how} 結束" },
    next: { en: "tessera logs {run} --rank {rank}", zh: "tessera logs {run} --rank {rank}" },
  },
  RUN_AGENT_LOST: {
    exit: EXIT.failedRun,
    message: { en: "agent {agent} was lost: {how}", zh: "代理 {agent} 失聯：{how}" },
    next: { en: "tessera logs {run} --agent {agent}", zh: "tessera logs {run} --agent {agent}" },
  },
  RUN_HANG: {
    exit: EXIT.failedRun,
    message: {
      en: "no step in {seconds} s (limit {limit} s); rank {rank} is the last",
      zh: "{seconds} 秒內無進展（上限 {limit} 秒）；最落後的是進程 {rank}",
    },
    next: { en: "tessera logs {run} --rank {rank}", zh: "tessera logs {run} --rank {rank}" },
  },
  RUN_NOT_FINITE: {
    exit: EXIT.failedRun,
    message: {
      en: "not finite at step {step}: {numbers}",
      zh: "第 {step} 步數值不是有限數：{numbers}",
    },
    next: {
      en: "a second time at one step is no passing fault: lower optimizer.learningRate or look at the data of that step",
      zh: "同一步兩次即非偶發：調低 optimizer.learningRate，或檢查該步資料",
    },
  },
  RUN_DISK_FULL: {
    exit: EXIT.environment,
    message: {
      en: "the disk of {path} is nearly full: {free} free, {need} needed",
      zh: "{path} 所在磁碟將滿：剩 {free}，需要 {need}",
    },
    next: { en: "free some room, then: tessera resume {run}", zh: "清出空間後：tessera resume {run}" },
  },
  RUN_MEMORY: {
    exit: EXIT.environment,
    message: {
      en: "rank {rank} needs {needed} on {device}, and {free} are free there for it",
      zh: "進程 {rank} 在 {device} 上需要 {needed}，但僅有 {free} 可用",
    },
    next: {
      en: "free memory on that device, or need less: {lighter} or more ranks; then: tessera resume {run}",
      zh: "釋放該裝置的記憶體，或減少需求：{lighter} 或更多進程；然後：tessera resume {run}",
    },
  },
  RUN_BALANCING_LOST: {
    exit: EXIT.failedRun,
    message: {
      en: "experts stay where they are: the thread that decides on moves is gone ({why})",
      zh: "專家不再搬動：決定搬動的執行緒已不在（{why}）",
    },
    next: {
      en: "training goes on without moves; tessera stop {run}, then tessera resume {run} starts the thread again",
      zh: "訓練照常，只是不再搬動；要再啟動該執行緒：tessera stop {run}，再 tessera resume {run}",
    },
  },
  RUN_ENVIRONMENT: {
    exit: EXIT.environment,
    message: { en: "rank {rank} cannot work here: {how}", zh: "進程 {rank} 無法在此執行：{how}" },
    next: {
      en: "tessera doctor   and: tessera logs {run} --rank {rank}",
      zh: "tessera doctor；以及 tessera logs {run} --rank {rank}",
    },
  },
  RUN_UNKNOWN: {
    exit: EXIT.failedRun,
    message: { en: "the run failed: {why}", zh: "任務失敗：{why}" },
    next: { en: "tessera logs {run}", zh: "tessera logs {run}" },
  },
} satisfies ErrorCatalog;

export const fail = catalog(entries);
export type RunErrorCode = keyof typeof entries;

/** True for a code of this catalog: verdicts of phases may carry others'. */
export const isRunError = (code: string): code is RunErrorCode => Object.hasOwn(entries, code);
