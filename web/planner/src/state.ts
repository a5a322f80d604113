import type { MathFormat } from "../../../src/cluster/index.ts";
import type { Engine, OptimizerKind, PrecisionName } from "../../../src/layout/index.ts";
import { KNOWN_MODELS } from "../../../src/model/index.ts";

/** Everything that the controls say. It lives in the address, so that a link shows what its sender saw. */
export type Controls = {
  /** A known model, or the name under which a pasted config.json is shown. */
  readonly model: string;
  /** The pasted config.json. */
  readonly config?: unknown;
  readonly device: string;
  readonly devices: number;
  /** A second kind of devices in the cluster; empty: none. */
  readonly second: string;
  readonly secondDevices: number;
  /** Factors on the preset's memory and link bandwidths. */
  readonly memory: number;
  readonly network: number;
  readonly engine: Engine;
  readonly sequence: number;
  readonly batch: number;
  readonly imbalance: number;
  readonly precision: PrecisionName;
  readonly compute: "" | MathFormat;
  readonly optimizer: OptimizerKind;
  readonly mtp: boolean;
  readonly swap: "auto" | "yes" | "no";
};

export const START: Controls = {
  model: "DeepSeek-V4-Pro",
  device: "910c",
  devices: 512,
  second: "",
  secondDevices: 64,
  memory: 1,
  network: 1,
  engine: "megatron",
  sequence: 4096,
  batch: 1024,
  imbalance: 1,
  precision: "bf16",
  compute: "",
  optimizer: "adamw",
  mtp: true,
  swap: "auto",
};

export const configOf = (c: Controls): unknown => c.config ?? KNOWN_MODELS[c.model];

/** Address text of what differs from the start; `extra` adds the page's own words (language, theme). */
export function toHash(c: Controls, extra: Readonly<Record<string, string>>): string {
  const out = new URLSearchParams();
  for (const [key, value] of Object.entries(c)) {
    if (key === "config") out.set(key, JSON.stringify(value));
    else if (value !== START[key as keyof Controls]) out.set(key, String(value));
  }
  for (const [key, value] of Object.entries(extra)) out.set(key, value);
  return out.toString();
}

/** Controls of an address. What cannot be read keeps its start value: an old link still opens. */
export function fromHash(hash: string): { readonly controls: Controls; readonly words: URLSearchParams } {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const read: Record<string, unknown> = {};
  for (const [key, like] of Object.entries(START)) {
    const text = words.get(key);
    if (text === null) continue;
    if (typeof like === "number") {
      const value = Number(text);
      if (Number.isFinite(value) && value > 0) read[key] = value;
    } else read[key] = typeof like === "boolean" ? text === "true" : text;
  }
  const config = words.get("config");
  if (config !== null) {
    try {
      read["config"] = JSON.parse(config);
    } catch {
      // A link that was cut off in a mail loses its config; the known model takes its place.
      delete read["model"];
    }
  }
  const controls = { ...START, ...read } as Controls;
  const known = controls.config !== undefined || controls.model in KNOWN_MODELS;
  return { controls: known ? controls : { ...controls, model: START.model }, words };
}
