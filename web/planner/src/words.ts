import type { Lang, Text } from "../../../src/base/index.ts";

const WORDS = {
  title: { en: "Tessera planner", zh: "Tessera 規劃" },
  tagline: {
    en: "which piece of the model lies on which rank, and how long a step takes",
    zh: "模型的哪一塊放在哪個進程，一步要多久",
  },
  model: { en: "Model", zh: "模型" },
  paste: { en: "paste a config.json …", zh: "貼上 config.json …" },
  device: { en: "Device", zh: "加速器" },
  devices: { en: "Devices", zh: "加速器數量" },
  sequence: { en: "Sequence length", zh: "序列長度" },
  batch: { en: "Global batch (sequences)", zh: "全局批次（序列）" },
  memory: { en: "Memory per device", zh: "每個加速器記憶體" },
  network: { en: "Link bandwidth", zh: "連線頻寬" },
  imbalance: { en: "Expert imbalance (max / mean)", zh: "專家不均衡（最大/平均）" },
  engine: { en: "Engine", zh: "引擎" },
  step: { en: "per step", zh: "每步" },
  tokens: { en: "tokens/s", zh: "tokens/秒" },
  perDevice: { en: "tokens/s per device", zh: "每加速器 tokens/秒" },
  mfu: { en: "MFU, model FLOPs", zh: "MFU，模型 FLOPs" },
  free: { en: "free on the fullest", zh: "最滿者尚餘" },
  puzzle: { en: "The puzzle", zh: "拼圖" },
  puzzleSub: {
    en: "memory of each pipeline rank against its device",
    zh: "每個流水線進程的記憶體與加速器容量",
  },
  goes: { en: "Where the step goes", zh: "一步的時間去向" },
  timeline: { en: "Stages over time", zh: "各階段時間線" },
  timelineSub: {
    en: "first rounds; blue forward, green backward, grey weight gradients",
    zh: "最初幾輪；藍為前向、綠為反向、灰為權重梯度",
  },
  why: { en: "Why this one", zh: "為什麼選它" },
  next: { en: "Next best, and what they lose", zh: "其他佈局及其損失" },
  left: { en: "Left out", zh: "排除" },
  whatIf: { en: "With a little more", zh: "若再多一點" },
  exports: { en: "Hand it to a stack", zh: "交給訓練框架" },
  layout: { en: "layout", zh: "佈局" },
  slower: { en: "loses", zh: "損失" },
  mfus: { en: "MFU in each convention", zh: "各種定義的 MFU" },
  fragmentation: { en: "fragmentation", zh: "碎片" },
  framework: { en: "framework", zh: "框架" },
  searching: { en: "searching …", zh: "搜索中 …" },
  theme: { en: "light / dark", zh: "明 / 暗" },
} as const satisfies Record<string, Text>;
export type Word = keyof typeof WORDS;
export const word = (key: Word, lang: Lang): string => WORDS[key][lang];
