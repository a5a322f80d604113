import { catalog, EXIT } from "../base/index.ts";

export const clusterFail = catalog({
  CLUSTER_SHAPE: {
    exit: EXIT.usage,
    message: { en: "{path}: {problem}", zh: "{path}：{problem}" },
    next: {
      en: "see docs/en/planner.md, section Clusters, for the keys a cluster file may have",
      zh: "叢集檔案可用的鍵見 docs/zh/planner.md 的「叢集」一節",
    },
  },
  CLUSTER_NAME: {
    exit: EXIT.usage,
    message: {
      en: "'{text}' is no preset with a count of devices",
      zh: "「{text}」不是「預設:加速器數」",
    },
    next: {
      en: "for example h100:64, or h100:32+a100:32; presets: {known}",
      zh: "例如 h100:64，或 h100:32+a100:32；預設：{known}",
    },
  },
  CLUSTER_PRESET: {
    exit: EXIT.usage,
    message: {
      en: "there is no device preset '{name}'; known: {known}",
      zh: "沒有名為「{name}」的加速器預設；可用：{known}",
    },
    next: {
      en: "pick one of them, or describe the device in the cluster file",
      zh: "選其中之一，或在叢集檔案中描述該加速器",
    },
  },
  CLUSTER_EMPTY: {
    exit: EXIT.usage,
    message: {
      en: "{path} is {value}: a cluster needs at least one",
      zh: "{path} 為 {value}：叢集至少需要一個",
    },
    next: { en: "give a whole number of at least 1", zh: "請給不小於 1 的整數" },
  },
  CLUSTER_RANGE: {
    exit: EXIT.usage,
    message: {
      en: "{path} = {value} {unit} lies outside what there is ({low} to {high} {unit})",
      zh: "{path} = {value} {unit} 超出硬體的合理範圍（{low} 至 {high} {unit}）",
    },
    next: {
      en: "check the unit: bandwidths are gigabytes a second one way per device, latencies microseconds, memory GiB",
      zh: "請檢查單位：頻寬為每個加速器單向 GB/s，延遲為微秒，記憶體為 GiB",
    },
  },
  CLUSTER_LEVELS: {
    exit: EXIT.usage,
    message: {
      en: "{path}: levels must grow; '{name}' spans {span} devices but the one before it spans {before}",
      zh: "{path}：層級必須遞增；「{name}」涵蓋 {span} 個加速器，但前一層涵蓋 {before} 個",
    },
    next: { en: "list links from the smallest block to the largest", zh: "請由小到大列出各層連線" },
  },
  PROFILE_SHAPE: {
    exit: EXIT.usage,
    message: {
      en: "the device profile is damaged: {path} {problem}",
      zh: "裝置描述檔損壞：{path} {problem}",
    },
    next: { en: "measure it again: tessera calibrate", zh: "重新量測：tessera calibrate" },
  },
  PROFILE_SCHEMA: {
    exit: EXIT.usage,
    message: {
      en: "the device profile is of version '{found}', this program reads '{wanted}'",
      zh: "裝置描述檔的版本為「{found}」，本程式讀取「{wanted}」",
    },
    next: { en: "measure it again: tessera calibrate", zh: "重新量測：tessera calibrate" },
  },
  PROFILE_DEVICE: {
    exit: EXIT.usage,
    message: {
      en: "the profile was measured on {measured}, the cluster has {device}",
      zh: "描述檔量自 {measured}，但叢集的加速器為 {device}",
    },
    next: {
      en: "run tessera calibrate on that device, or plan for the device that was measured",
      zh: "請在該裝置上執行 tessera calibrate，或改為規劃已量測的裝置",
    },
  },
  CLUSTER_DEVICES: {
    exit: EXIT.usage,
    message: {
      en: "{devices} devices do not fill whole nodes of {perNode}",
      zh: "{devices} 個加速器無法填滿每節點 {perNode} 個的節點",
    },
    next: {
      en: "give a multiple of {perNode}, or fewer than one node",
      zh: "請給 {perNode} 的倍數，或少於一個節點",
    },
  },
});
