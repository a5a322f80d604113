import { catalog, EXIT } from "../base/index.ts";

export const layoutFail = catalog({
  PLAN_ILLEGAL: {
    exit: EXIT.usage,
    message: { en: "the layout is not legal: {detail}", zh: "佈局不合法：{detailZh}" },
    next: {
      en: "change the degree named, or let `tessera plan` search",
      zh: "修改所述的並行度，或用 `tessera plan` 搜索",
    },
  },
  PLAN_FORMAT: {
    exit: EXIT.usage,
    message: { en: "{device} has no {format} matrix units", zh: "{device} 沒有 {format} 矩陣單元" },
    next: {
      en: "use --precision bf16 (traits.compute in a case), other devices, or a cluster file that gives {format}Tflops of the device",
      zh: "改用 --precision bf16（案例中為 traits.compute）、其他加速器，或在叢集檔案給出該裝置的 {format}Tflops",
    },
  },
  PLAN_NO_LAYOUT: {
    exit: EXIT.infeasible,
    message: {
      en: "no layout is legal for {devices} devices, batch {batch} and sequence {sequence} under these constraints: {why}",
      zh: "在這些限制下，{devices} 個加速器、批次 {batch}、序列 {sequence} 沒有合法佈局：{why}",
    },
    next: {
      en: "use a device count and a global batch with more common divisors (a larger batch for many devices), or relax the constraints",
      zh: "選用公因數較多的加速器數與全局批次（加速器多時批次也要大），或放寬限制",
    },
  },
  PLAN_NO_ROOM: {
    exit: EXIT.infeasible,
    message: {
      en: "the model does not fit: of {considered} layouts the nearest ({layout}) is short by at least {short} on its fullest device",
      zh: "模型放不下：{considered} 個佈局中最接近的（{layout}）在最滿的加速器上至少還差 {short}",
    },
    next: {
      en: "recomputation, swap, smaller states (--precision bf16-lean), shorter sequences or more devices help where they are not used yet",
      zh: "尚未使用重算、換出、較小的狀態（--precision bf16-lean）、較短序列或更多加速器時可一試",
    },
  },
  PLAN_NO_ROOM_HERE: {
    exit: EXIT.infeasible,
    message: {
      en: "the model does not fit: of {considered} layouts the nearest ({layout}) is short by at least {short} on its fullest device",
      zh: "模型放不下：{considered} 個佈局中最接近的（{layout}）在最滿的加速器上至少還差 {short}",
    },
    next: {
      en: "{fits}; recomputation, swap, smaller states (--precision bf16-lean) and shorter sequences also help where they are not used yet",
      zh: "{fitsZh}；尚未使用重算、換出、較小的狀態（--precision bf16-lean）或較短序列時也可一試",
    },
  },
  EXPORT_UNSUPPORTED: {
    exit: EXIT.infeasible,
    message: { en: "{target} cannot express {what}", zh: "{target} 無法表達 {what}" },
    next: { en: "pick another target, or plan with that left out", zh: "改用其他目標，或在規劃時排除此項" },
  },
  EXPORT_NOTHING: {
    exit: EXIT.infeasible,
    message: {
      en: "no layout that the target can run is legal on {devices} devices: {what}",
      zh: "在 {devices} 個加速器上，沒有目標能執行的合法佈局：{what}",
    },
    next: {
      en: "plan with that left out (--no-mtp, --optimizer, --precision, --swap no), or pick another target",
      zh: "在規劃時排除此項（--no-mtp、--optimizer、--precision、--swap no），或改用其他目標",
    },
  },
  EXPORT_READ: {
    exit: EXIT.usage,
    message: { en: "cannot read {target} settings back: {detail}", zh: "無法讀回 {target} 的設定：{detail}" },
    next: {
      en: "correct the setting named, or write it anew with tessera plan --export",
      zh: "修正所述的設定，或用 tessera plan --export 重新輸出",
    },
  },
  ESTIMATE_CASE: {
    exit: EXIT.usage,
    message: { en: "case {index}, {path}: {problem}", zh: "第 {index} 例，{path}：{problemZh}" },
    next: {
      en: "for what a case may say: tessera estimate --schema, or docs/en/planner.md, section Estimate",
      zh: "案例的寫法見 tessera estimate --schema，或 docs/zh/planner.md 的「估算」一節",
    },
  },
});
