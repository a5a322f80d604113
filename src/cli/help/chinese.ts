/**
 * Chinese of every description that `--help` shows, by its English text as the verbs give it. A test holds both sides together: no text
 * without its Chinese, and nothing here that no verb says.
 */
export const CHINESE: Readonly<Record<string, string>> = {
  // calibrate
  "measure this model's shapes and whole steps of it (config.json or its folder)":
    "量測此模型的形狀與完整訓練步（config.json 或其資料夾）",
  "ranks of a node (default: one a device; on CPU two a core)":
    "每節點的進程數（預設每裝置一個；CPU 每核心兩個）",
  "sequences a rank takes at once": "每個進程一次處理的序列數",
  "stop after this long; the next call goes on": "到此分鐘數即停止；下次執行會繼續",
  "measure at most so many points": "最多量測的點數",
  "where the profile goes (.json, or YAML)": "描述檔的位置（.json，否則為 YAML）",
  "where finished points are kept": "保存已完成量測點的資料夾",
  "what tessera calibrate measured on these devices": "tessera calibrate 在這些裝置上的量測結果",
  "what tessera calibrate measured; without --cluster, plan for that machine":
    "tessera calibrate 的量測結果；未給 --cluster 時即規劃該機器",
  // setup, plan, estimate
  "with the tools for tests and checks": "連同測試與檢查的工具",
  "recipe.yaml: plan what it asks for, on this machine unless --cluster says where":
    "recipe.yaml：規劃它所要求的；除非以 --cluster 指定，否則為本機",
  "config.json, the folder that holds it, or a well-known model's name":
    "config.json、含有它的資料夾，或知名模型的名稱",
  "for example h100:64, 910c:512, or a YAML file": "例如 h100:64、910c:512，或一個 YAML 檔案",
  "tokens of a sequence": "每條序列的詞元數",
  "global batch in sequences": "全域批次的序列數",
  "whose rules hold": "依哪個引擎的規則",
  "weights, states and products": "權重、狀態與矩陣乘法的格式",
  "rejected layouts whose name holds these words, with what bound them":
    "名稱含這些字的落選佈局，以及限制它們的是什麼",
  "format of matrix products": "矩陣乘法的格式",
  "do not train multi-token-prediction modules": "不訓練多詞元預測模組",
  "tokens of the most loaded expert rank over the mean": "最忙專家進程的詞元數與平均值之比",
  "recorded expert loads, as tessera balance reads them, instead of one ratio":
    "記錄的專家負載（格式同 tessera balance），取代單一比值",
  "allowed degrees, like 4,8 (the same for the options below)": "允許的並行度，例如 4,8（以下選項相同）",
  "1f1b,interleaved1f1b,zbh1,zbv,dualpipev": "1f1b,interleaved1f1b,zbh1,zbv,dualpipev",
  "allGather,ring,ulysses": "allGather,ring,ulysses",
  "keep optimizer state on the host": "把優化器狀態放在主機記憶體",
  "how the stack runs: deduplicate,overlapExpert=0.8 (keys as in a case)":
    "框架的執行方式：deduplicate,overlapExpert=0.8（鍵與案例相同）",
  "share of the batch that empty sequences may add where it does not divide":
    "批次不能整除時，空序列最多可補上的比例",
  "share of device memory kept free (default 0.04)": "加速器記憶體保留不用的比例（預設 0.04）",
  "alternatives listed": "列出的備選數",
  "print the settings of another stack instead": "改為輸出其他訓練框架的設定",
  "print what this rank holds of every tensor instead": "改為輸出此進程持有每個張量的哪一部分",
  "serve the planner page on this machine and print its address": "在本機開啟規劃頁面並輸出網址",
  "plans for up to this many lost nodes": "最多失去這麼多節點時的備用佈局",
  "what one more of anything would buy": "任何資源多一份能換來什麼",
  "print the JSON Schema of cases, for editors": "輸出案例的 JSON Schema，供編輯器使用",
  "a case, or a list of cases; - or nothing reads standard input": "一個案例或案例清單；- 或不給則讀標準輸入",
  // run, ps, status, logs, stop, resume
  "recipe.yaml": "recipe.yaml",
  "folder of all runs (default: runs)": "所有任務的資料夾（預設：runs）",
  "another run of the same recipe": "同一配方的另一個任務",
  "only check the recipe": "只檢查配方",
  "kill a rank with -9 after a step, to see the run heal": "在某步之後以 -9 殺掉一個進程，看任務自癒",
  "exit with the code that the run ended with": "以任務結束時的退出碼退出",
  "name, name/id, id or folder; the newest when absent": "名稱、名稱/編號、編號或資料夾；省略則取最新",
  "output of this rank": "此進程的輸出",
  "output of this agent": "此代理的輸出",
  "last lines (0: all)": "最後幾行（0：全部）",
  "go on as the run writes, until it ends": "隨任務寫入持續顯示，直到結束",
  "at once, without a checkpoint": "立即停止，不存檢查點",
  "do not wait for the end": "不等待結束",
  // data, eval, export, report
  "folder of the data": "資料的資料夾",
  "YAML file whose `data` part is used": "取用其 `data` 部分的 YAML 檔案",
  "seed of the generators": "產生器的種子",
  "problems to draft": "起草的題數",
  "problems to take for training": "取作訓練的題數",
  "problems to hold out": "保留作測量的題數",
  "use this tokenizer (a base model's) instead of training one": "使用這個（基礎模型的）分詞器，不另訓練",
  "show: id of a sample, its beginning, or its origin (seed/index)":
    "show：樣本的編號、編號開頭，或其來源（種子/序號）",
  "Hugging Face folder of the model before training": "訓練前模型的 Hugging Face 資料夾",
  "Hugging Face folder of the model after training": "訓練後模型的 Hugging Face 資料夾",
  "held-out problems (heldout.jsonl of the data)": "保留題（資料中的 heldout.jsonl）",
  "packed general text; without it the gate cannot pass": "打包好的通用文本；沒有它閘門不能通過",
  "where answers and the evaluation are kept": "答案與評測的存放處",
  "problems both models answer": "兩個模型都作答的題數",
  "longest answer": "答案的最大長度",
  "answers generated at once by a process": "一個進程同時生成的答案數",
  "processes that generate at once": "同時生成的進程數",
  "the interval must lie above this": "區間必須高於此值",
  "largest rise of perplexity on general text": "通用文本困惑度允許的最大升幅",
  "score a published set instead": "改為評分一個公開題集",
  "folder of the published set": "公開題集的資料夾",
  "longest solve of a published model": "求解一個公開模型的最長時間",
  "checkpoint of this step (default: the newest)": "此步的檢查點（預設：最新）",
  "where to write (default: export/step-N in the run folder)":
    "寫到哪裡（預設：任務資料夾中的 export/step-N）",
  "number format of the weights on disk": "權重在磁碟上的數值格式",
  "largest weight file": "權重檔案的最大尺寸",
  "where to write it (default: report.html in the run folder)":
    "寫到哪裡（預設：任務資料夾中的 report.html）",
  "run folder, e.g. runs/<name>/<id>": "任務資料夾，例如 runs/<名稱>/<編號>",
  // balance
  "loads: JSON, NDJSON or CSV; - for stdin; not needed with --trace or --tokens":
    "負載：JSON、NDJSON 或 CSV；- 表示標準輸入；有 --trace 或 --tokens 時不需要",
  "ranks that share the experts": "分擔專家的進程數",
  "slots of all ranks together (default: as many as experts)": "所有進程的槽位總數（預設：與專家數相同）",
  "nodes with equally many ranks": "進程數相同的節點數",
  "groups of a group-limited router": "限組路由器的組數",
  "relative speed of ranks that differ": "速度不同的進程的相對速度",
  "slots of ranks whose memory differs": "記憶體不同的進程的槽位數",
  "placement to start from: move little": "起始放置：盡量少搬",
  "write the placement to a file": "把放置寫入檔案",
  "form of the placement": "放置的格式",
  "ratio to the bound that is good enough": "與下界之比達到此值即可",
  "steps within which a move must pay back": "搬移須在這麼多步內回本",
  "bytes that move with one expert": "搬一個專家的位元組數",
  "seconds of one routed token in one layer": "一層中一個路由詞元所需秒數",
  "bandwidth of a rank inside its node": "進程在節點內的頻寬",
  "bandwidth of a rank over the network": "進程在網路上的頻寬",
  "make that pre-scan first: a Hugging Face folder, run forward once, no training":
    "先做該預掃：Hugging Face 資料夾，只做一次前向、不訓練",
  "packed rows to scan, as training reads them": "要預掃的已裝箱資料，與訓練所讀相同",
  "scan only the first rows of the data": "只預掃資料的前幾列",
  "loads from a pre-scan: what each token of the data chose": "由預掃得負載：資料的每個詞元選了哪些專家",
  "token ids of the data, a line a sample, for hash-routed layers":
    "資料的詞元編號，每行一個樣本，供雜湊路由的層使用",
  "experts of every token id in those layers": "那些層中每個詞元編號的專家",
  "only these samples of the pre-scan": "只看預掃中的這些樣本",
  "experts that tokens choose together on one node": "同一詞元常一起選的專家放在同一節點",
  "which samples of the window share a micro-batch": "窗內哪些樣本同在一個微批次",
  "write micro-batches and sample nodes to a file": "把微批次與樣本的節點寫入檔案",
  // recipe-schema
  "print the reference page in Markdown": "以 Markdown 輸出參考頁",
  // commander's own
  "display help for command": "顯示說明",
};
