import { catalog, EXIT } from "../base/index.ts";

/** Everything that can be wrong with loads, shapes, placements and traces; nothing is moved when one of these is raised. */
export const fail = catalog({
  EXPERTS_LOADS_EMPTY: {
    exit: EXIT.usage,
    message: { en: "the loads are empty: {why}", zh: "負載是空的：{why}" },
    next: {
      en: "give at least one layer with at least one expert; the format is in docs/en/experts.md",
      zh: "請至少給一層、一個專家；格式見 docs/zh/experts.md",
    },
  },
  EXPERTS_LOADS_RAGGED: {
    exit: EXIT.usage,
    message: {
      en: "layer {layer} has {got} loads, layer {first} has {want}",
      zh: "第 {layer} 層有 {got} 個負載，第 {first} 層卻有 {want} 個",
    },
    next: {
      en: "give every layer the same number of experts, or balance the layers in separate files",
      zh: "讓每層的專家數相同，或把不同的層分成不同的檔案",
    },
  },
  EXPERTS_LOADS_VALUE: {
    exit: EXIT.usage,
    message: {
      en: "the load of layer {layer}, expert {expert} is {value}; it must be 0 or a number from 1e-200 to 1e200",
      zh: "第 {layer} 層專家 {expert} 的負載是 {value}；必須是 0，或 1e-200 至 1e200 的數",
    },
    next: {
      en: "count the tokens again; a load is a number of tokens or a share",
      zh: "請重新計數；負載是詞元數或份額",
    },
  },
  EXPERTS_LOADS_FORMAT: {
    exit: EXIT.usage,
    message: { en: "cannot read the loads: {why}", zh: "讀不懂這份負載：{why}" },
    next: {
      en: 'write {"layers":{"0":[90,132,...]}}, a bare [[...],[...]], lines "layer,expert,load", or NDJSON; see docs/en/experts.md',
      zh: '請寫成 {"layers":{"0":[90,132,...]}}、[[...],[...]]、「layer,expert,load」的行，或 NDJSON；見 docs/zh/experts.md',
    },
  },
  EXPERTS_SHAPE: {
    exit: EXIT.usage,
    message: { en: "{what} is {value}: {why}", zh: "{what} 是 {value}：{why}" },
    next: { en: "change {what}", zh: "請修改 {what}" },
  },
  EXPERTS_FEW_SLOTS: {
    exit: EXIT.infeasible,
    message: {
      en: "{slots} slots cannot hold {experts} experts ({where})",
      zh: "{slots} 個槽位放不下 {experts} 個專家（{where}）",
    },
    next: { en: "give at least {experts} slots", zh: "請至少給 {experts} 個槽位" },
  },
  EXPERTS_MANY_SLOTS: {
    exit: EXIT.infeasible,
    message: {
      en: "{slots} slots need more than {ranks} copies of an expert on {ranks} ranks: two copies would share a rank ({where})",
      zh: "{slots} 個槽位會讓一個專家在 {ranks} 個進程上多於 {ranks} 份，同一進程就有兩份（{where}）",
    },
    next: {
      en: "give at most {most} slots: no rank can hold more slots than there are experts it may hold",
      zh: "請至多給 {most} 個槽位：一個進程的槽位不能多於它可放的專家",
    },
  },
  EXPERTS_MEMORY: {
    exit: EXIT.infeasible,
    message: {
      en: "the memory of the ranks leaves room for {slots} experts a layer, {experts} are needed",
      zh: "各進程的記憶體每層只放得下 {slots} 個專家，需要 {experts} 個",
    },
    next: {
      en: "use more ranks, or a layout with less expert state on a rank",
      zh: "請用更多進程，或換一個每進程專家狀態較少的佈局",
    },
  },
  EXPERTS_PLACEMENT_FORMAT: {
    exit: EXIT.usage,
    message: { en: "cannot read the placement: {why}", zh: "讀不懂這份放置：{why}" },
    next: {
      en: 'give the JSON of `tessera balance`, EPLB\'s {"physical_to_logical_map":[[...]]}, or {"layers":{"0":[expert of slot 0,...]}}',
      zh: '請給 `tessera balance` 的 JSON、EPLB 的 {"physical_to_logical_map":[[...]]}，或 {"layers":{"0":[槽位 0 的專家,...]}}',
    },
  },
  EXPERTS_PLACEMENT_OTHER: {
    exit: EXIT.usage,
    message: {
      en: "this placement is of another model or layout: {what} is {got}, expected {want}; nothing moved",
      zh: "這份放置屬於別的模型或佈局：{what} 是 {got}，應為 {want}；沒有搬動任何東西",
    },
    next: {
      en: "use the placement that was made for these loads, ranks and slots",
      zh: "請使用為這些負載、進程與槽位所做的放置",
    },
  },
  EXPERTS_PLACEMENT_INVALID: {
    exit: EXIT.usage,
    message: {
      en: "the placement breaks a rule in layer {layer}: {why}; nothing moved",
      zh: "放置在第 {layer} 層違反規則：{why}；沒有搬動任何東西",
    },
    next: {
      en: "every expert needs a slot, and no rank may hold two copies of one expert",
      zh: "每個專家都要有槽位，且同一進程不能有同一專家的兩份副本",
    },
  },
  EXPERTS_RANK: {
    exit: EXIT.usage,
    message: {
      en: "rank {rank} is unknown: there are {ranks} ranks",
      zh: "沒有進程 {rank}：共有 {ranks} 個進程",
    },
    next: { en: "ranks count from 0 to {last}", zh: "進程編號由 0 到 {last}" },
  },
  EXPERTS_TRACE: {
    exit: EXIT.usage,
    message: { en: "cannot use the routing trace: {why}", zh: "無法使用這份路由紀錄：{why}" },
    next: {
      en: "give the same number of different expert ids for every token, and the file whole; see docs/en/experts.md",
      zh: "每個詞元要有同樣多、互不相同的專家編號，且檔案須完整；見 docs/zh/experts.md",
    },
  },
  EXPERTS_FILE_SIZE: {
    exit: EXIT.usage,
    message: { en: "{file} is too large: up to 512 MiB are read", zh: "{file} 太大：至多讀 512 MiB" },
    next: {
      en: "scan fewer rows (--rows), or give the layers in several files",
      zh: "請減少預掃的列（--rows），或把各層分成數個檔案",
    },
  },
  EXPERTS_OPTION: {
    exit: EXIT.usage,
    message: { en: "{option}: {why}", zh: "{option}：{why}" },
    next: { en: "see docs/en/experts.md, Foresight", zh: "見 docs/zh/experts.md「先見」" },
  },
  EXPERTS_HISTORY: {
    exit: EXIT.usage,
    message: { en: "cannot use these steps of loads: {why}", zh: "無法使用這幾步的負載：{why}" },
    next: {
      en: "give every step the same layers and experts; a decision needs two steps at least",
      zh: "每步須有相同的層與專家；作決定至少要兩步",
    },
  },
});
