import { useRef, useState } from "preact/hooks";
import { formatBytes, type Lang } from "../../../src/base/index.ts";
import { DEVICES, presetGroup } from "../../../src/cluster/index.ts";
import { PRECISIONS } from "../../../src/layout/index.ts";
import { KNOWN_MODELS } from "../../../src/model/index.ts";
import type { Controls } from "./state.ts";
import { type Word, word } from "./words.ts";

const DEVICE_STEPS = [
  1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 640, 768, 1024, 1536, 2048, 3072, 4096, 8192,
];
const BATCH_STEPS = [8, 16, 32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192, 16384];
const SEQUENCE_STEPS = [1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144];

type Set = (change: Partial<Controls>) => void;
type Props = { readonly controls: Controls; readonly set: Set; readonly lang: Lang };

/** A value from a link joins the steps, so that the slider can stand on it. */
const including = (list: readonly number[], value: number): number[] =>
  [...new Set([...list, value])].sort((a, b) => a - b);
const wholeNodes = (device: string): number[] =>
  DEVICE_STEPS.filter((count) => presetGroup(device, count) !== undefined);
/** The nearest count that fills whole nodes of another device. */
const nearest = (list: readonly number[], value: number): number =>
  list.reduce((best, next) => (Math.abs(next - value) < Math.abs(best - value) ? next : best), list[0] ?? 1);

export function ControlPanel({ controls: c, set, lang }: Props) {
  const w = (key: Word) => word(key, lang);
  const steps = (
    key: "devices" | "secondDevices" | "batch" | "sequence",
    given: readonly number[],
    label: Word = key,
  ) => {
    const list = including(given, c[key]);
    return (
      <label>
        <span class="line">
          {w(label)}
          <span class="value">{c[key].toLocaleString("en")}</span>
        </span>
        <input
          type="range"
          data-control={key}
          min={0}
          max={list.length - 1}
          value={list.indexOf(c[key])}
          aria-valuetext={c[key].toLocaleString("en")}
          onInput={(event) => set({ [key]: list[Number(event.currentTarget.value)] as number })}
        />
      </label>
    );
  };
  const factor = (key: "memory" | "network" | "imbalance", low: number, high: number) => (
    <label>
      <span class="line">
        {w(key)}
        <span class="value">{`× ${c[key].toFixed(2)}`}</span>
      </span>
      <input
        type="range"
        data-control={key}
        min={low}
        max={high}
        step={0.05}
        value={c[key]}
        aria-valuetext={`× ${c[key].toFixed(2)}`}
        onInput={(event) => set({ [key]: Number(event.currentTarget.value) })}
      />
    </label>
  );
  const choose = <K extends keyof Controls>(
    key: K,
    options: readonly (readonly [string, string])[],
    make: (value: string) => Partial<Controls> = (value) => ({ [key]: value }) as Partial<Controls>,
  ) => (
    <label>
      <span class="line">{w(key as Word)}</span>
      <select
        data-control={key}
        value={String(c[key])}
        onChange={(event) => set(make(event.currentTarget.value))}
      >
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
  const devices = DEVICES.map(
    (device) => [device.id, `${device.title} · ${formatBytes(device.memoryBytes)}`] as const,
  );
  return (
    <aside class="card controls" aria-label={w("controls")}>
      <ModelPicker controls={c} set={set} lang={lang} />
      <fieldset>
        <legend>{w("cluster")}</legend>
        {choose("device", devices, (device) => ({
          device,
          devices: nearest(wholeNodes(device), c.devices),
        }))}
        {steps("devices", wholeNodes(c.device))}
        {choose("second", [["", w("none")], ...devices], (second) => ({
          second,
          ...(second === "" ? {} : { secondDevices: nearest(wholeNodes(second), c.secondDevices) }),
        }))}
        {c.second === "" ? null : steps("secondDevices", wholeNodes(c.second))}
        {factor("memory", 0.25, 2)}
        {factor("network", 0.25, 4)}
      </fieldset>
      <fieldset>
        <legend>{w("recipe")}</legend>
        {steps("batch", BATCH_STEPS)}
        {steps("sequence", SEQUENCE_STEPS)}
        {factor("imbalance", 1, 3)}
        <div class="pair">
          {choose(
            "precision",
            Object.keys(PRECISIONS).map((name) => [name, name] as const),
          )}
          {choose("optimizer", [
            ["adamw", "AdamW"],
            ["muon", "Muon"],
            ["sgd", "SGD"],
          ])}
        </div>
        {choose("swap", [
          ["auto", w("auto")],
          ["yes", w("yes")],
          ["no", w("no")],
        ])}
        {choose("engine", [
          ["megatron", "Megatron, MindSpeed"],
          ["tessera", "Tessera"],
        ])}
        <label class="check">
          <input
            type="checkbox"
            data-control="mtp"
            checked={c.mtp}
            onChange={(event) => set({ mtp: event.currentTarget.checked })}
          />
          {w("mtp")}
        </label>
      </fieldset>
    </aside>
  );
}

/** Known models by name, or any config.json from the clipboard or a file. */
function ModelPicker({ controls: c, set, lang }: Props) {
  const w = (key: Word) => word(key, lang);
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");
  const [name, setName] = useState("");
  const use = () => {
    try {
      const config: unknown = JSON.parse(text);
      const given = (config as { _name_or_path?: unknown } | null)?._name_or_path;
      set({ model: name || (typeof given === "string" && given) || "config.json", config });
      dialog.current?.close();
    } catch (cause) {
      setProblem(`${w("notJson")}${(cause as Error).message}`);
    }
  };
  const pick = (value: string) => {
    if (value !== "") return set({ model: value, config: undefined });
    setProblem("");
    dialog.current?.showModal();
  };
  const own = c.config !== undefined;
  return (
    <>
      <label>
        <span class="line">{w("model")}</span>
        <select
          data-control="model"
          value={own ? "own" : c.model}
          onChange={(event) => {
            const { value } = event.currentTarget;
            event.currentTarget.value = own ? "own" : c.model;
            pick(value);
          }}
        >
          {own ? <option value="own">{c.model}</option> : null}
          {Object.keys(KNOWN_MODELS).map((known) => (
            <option key={known} value={known}>
              {known}
            </option>
          ))}
          <option value="">{w("own")}</option>
        </select>
      </label>
      <dialog ref={dialog} aria-labelledby="own-title">
        <h2 id="own-title">{w("ownTitle")}</h2>
        <p class="dim">{w("ownHelp")}</p>
        <input
          type="file"
          accept=".json,application/json"
          aria-label="config.json"
          onChange={async (event) => {
            const file = event.currentTarget.files?.[0];
            if (!file) return;
            setText(await file.text());
            setName(file.name.replace(/(_config)?\.json$/, ""));
          }}
        />
        <textarea
          rows={12}
          spellcheck={false}
          aria-label="config.json"
          placeholder={'{ "model_type": "qwen3_moe", … }'}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        {problem ? (
          <p class="problem" role="alert">
            {problem}
          </p>
        ) : null}
        <div class="row">
          <button type="button" class="main" onClick={use}>
            {w("use")}
          </button>
          <button type="button" onClick={() => dialog.current?.close()}>
            {w("cancel")}
          </button>
        </div>
      </dialog>
    </>
  );
}
