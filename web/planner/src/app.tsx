import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { formatBytes, formatCount, formatSeconds, type Lang, say } from "../../../src/base/index.ts";
import { DEVICES } from "../../../src/cluster/index.ts";
import { whatIfText } from "../../../src/layout/index.ts";
import { MODELS } from "./models.ts";
import { Puzzle, Split, Timeline } from "./pictures.tsx";
import type { Answer, Ask } from "./protocol.ts";
import { type Word, word } from "./words.ts";

type Controls = Omit<Ask, "id" | "mode">;
const DEVICE_STEPS = [1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096];
const BATCH_STEPS = [8, 16, 32, 64, 128, 256, 512, 1024, 1536, 2048, 4096, 8192];
const SEQUENCE_STEPS = [2048, 4096, 8192, 16384, 32768, 65536, 131072];

const start: Controls = {
  modelKey: "DeepSeek-V4-Pro",
  config: MODELS["DeepSeek-V4-Pro"],
  device: "910c",
  devices: 512,
  memory: 1,
  network: 1,
  engine: "megatron",
  sequence: 4096,
  batch: 1024,
  imbalance: 1,
};

export function App({ lang, theme }: { lang: Signal<Lang>; theme: Signal<"light" | "dark"> }) {
  const controls = useSignal<Controls>(start);
  const answer = useSignal<Answer | undefined>(undefined);
  const worker = useRef<Worker | undefined>(undefined);
  const next = useRef(0);
  const rest = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const l = lang.value;
  const w = (key: Word) => word(key, l);

  useEffect(() => {
    const made = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    made.onmessage = (event: MessageEvent<Answer>) => {
      if (event.data.id >= (answer.value?.id ?? 0)) answer.value = event.data;
    };
    worker.current = made;
    ask("full");
    return () => made.terminate();
  }, []);

  const ask = (mode: Ask["mode"]) =>
    worker.current?.postMessage({ ...controls.value, id: ++next.current, mode } satisfies Ask);
  const set = (change: Partial<Controls>) => {
    controls.value = { ...controls.value, ...change };
    ask("drag");
    clearTimeout(rest.current);
    rest.current = setTimeout(() => ask("full"), 250);
  };

  const a = answer.value;
  return (
    <>
      <header>
        <h1>{w("title")}</h1>
        <span class="grow">{w("tagline")}</span>
        <button type="button" onClick={() => (lang.value = l === "en" ? "zh" : "en")}>
          {l === "en" ? "中文" : "English"}
        </button>
        <button
          type="button"
          aria-label={w("theme")}
          onClick={() => (theme.value = theme.value === "dark" ? "light" : "dark")}
        >
          {theme.value === "dark" ? "☀" : "☾"}
        </button>
      </header>
      <main>
        <ControlPanel controls={controls.value} set={set} lang={l} />
        {a === undefined ? (
          <p class="dim">{w("searching")}</p>
        ) : a.ok ? (
          <Result answer={a} lang={l} theme={theme.value} />
        ) : (
          <div class="card error">{say(a.error, l)}</div>
        )}
      </main>
    </>
  );
}

function ControlPanel({
  controls: c,
  set,
  lang,
}: {
  controls: Controls;
  set: (change: Partial<Controls>) => void;
  lang: Lang;
}) {
  const w = (key: Word) => word(key, lang);
  const steps = (key: "devices" | "batch" | "sequence", list: readonly number[]) => (
    <label>
      <span>
        {w(key)}
        <span class="value">{c[key].toLocaleString("en")}</span>
      </span>
      <input
        type="range"
        data-control={key}
        min={0}
        max={list.length - 1}
        value={Math.max(0, list.indexOf(c[key]))}
        onInput={(event) => set({ [key]: list[Number(event.currentTarget.value)] as number })}
      />
    </label>
  );
  const factor = (key: "memory" | "network" | "imbalance", low: number, high: number) => (
    <label>
      <span>
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
        onInput={(event) => set({ [key]: Number(event.currentTarget.value) })}
      />
    </label>
  );
  const pick = (name: string) => {
    if (name in MODELS) return set({ modelKey: name, config: MODELS[name] });
    const text = prompt("config.json");
    if (!text) return;
    try {
      set({ modelKey: `config ${Date.now()}`, config: JSON.parse(text) });
    } catch {
      alert("JSON?");
    }
  };
  return (
    <aside class="card controls">
      <label>
        {w("model")}
        <select value={c.modelKey} onChange={(event) => pick(event.currentTarget.value)}>
          {Object.keys(MODELS).map((name) => (
            <option key={name}>{name}</option>
          ))}
          <option value="">{c.modelKey in MODELS ? w("paste") : c.modelKey}</option>
        </select>
      </label>
      <label>
        {w("device")}
        <select value={c.device} onChange={(event) => set({ device: event.currentTarget.value })}>
          {DEVICES.map((device) => (
            <option
              key={device.id}
              value={device.id}
            >{`${device.title} · ${formatBytes(device.memoryBytes)}`}</option>
          ))}
        </select>
      </label>
      {steps("devices", DEVICE_STEPS)}
      {steps("batch", BATCH_STEPS)}
      {steps("sequence", SEQUENCE_STEPS)}
      {factor("memory", 0.5, 2)}
      {factor("network", 0.25, 4)}
      {factor("imbalance", 1, 3)}
      <label>
        {w("engine")}
        <select
          value={c.engine}
          onChange={(event) => set({ engine: event.currentTarget.value as Controls["engine"] })}
        >
          <option value="megatron">Megatron, MindSpeed</option>
          <option value="tessera">Tessera</option>
        </select>
      </label>
    </aside>
  );
}

function Result({ answer, lang, theme }: { answer: Answer & { ok: true }; lang: Lang; theme: string }) {
  const w = (key: Word) => word(key, lang);
  const { plan, bars, capacity } = answer;
  const { time } = plan;
  const target = useSignal("megatron");
  const chosen = answer.exports[target.value];
  const figures: [string, string][] = [
    [formatSeconds(time.seconds), w("step")],
    [formatCount(Math.round(time.tokensPerSecond)), w("tokens")],
    [formatCount(Math.round(time.tokensPerSecondPerDevice)), w("perDevice")],
    [`${(100 * time.mfu.model).toFixed(1)} %`, w("mfu")],
    [formatBytes(plan.free), w("free")],
  ];
  return (
    <div class="grid" data-ms={answer.ms.toFixed(1)} data-id={answer.id} data-full={String(answer.full)}>
      <section class="card c12 hero">
        <div class="name">{plan.name}</div>
        {figures.map(([value, name]) => (
          <div key={name}>
            <b>{value}</b>
            <span>{name}</span>
          </div>
        ))}
      </section>
      <section class="card c7">
        <h2>
          {w("puzzle")}
          <small>{w("puzzleSub")}</small>
        </h2>
        <Puzzle memory={plan.memory} capacity={capacity} lang={lang} />
      </section>
      <section class="card c5">
        <h2>{w("goes")}</h2>
        <Split time={time} lang={lang} />
      </section>
      {bars.length > 0 ? (
        <section class="card c12">
          <h2>
            {w("timeline")}
            <small>{w("timelineSub")}</small>
          </h2>
          <Timeline key={theme} bars={bars} ranks={plan.layout.pp} />
        </section>
      ) : null}
      <section class="card c6">
        <h2>{w("why")}</h2>
        <ul class="plain">
          {plan.why.map((line) => (
            <li key={line.en}>{say(line, lang)}</li>
          ))}
        </ul>
        {answer.whatIfs ? (
          <>
            <h2 style={{ marginTop: "14px" }}>{w("whatIf")}</h2>
            <ul class="plain dim">
              {answer.whatIfs.map((what) => (
                <li key={what.change}>{say(whatIfText(what), lang)}</li>
              ))}
            </ul>
          </>
        ) : null}
      </section>
      <section class="card c6">
        <h2>{w("mfus")}</h2>
        <table>
          <tbody>
            {(
              [
                [
                  "model",
                  {
                    en: "visible pairs, no recompute, bf16 peak (default)",
                    zh: "可見配對、不計重算、bf16 峰值（預設）",
                  },
                ],
                ["fullAttention", { en: "every pair counted", zh: "計入全部配對" }],
                ["parametersOnly", { en: "6 x active parameters", zh: "6 x 活躍參數" }],
                ["withRecompute", { en: "recomputation counted", zh: "計入重算" }],
              ] as const
            ).map(([key, text]) => (
              <tr key={key}>
                <td>{say(text, lang)}</td>
                <td class="num">{`${(100 * time.mfu[key]).toFixed(2)} %`}</td>
              </tr>
            ))}
            <tr>
              <td class="dim">FLOP/token · {lang === "zh" ? "峰值" : "peak"}</td>
              <td class="num dim">{`${formatCount(time.mfu.flopsPerToken)} · ${(time.mfu.peakFlops / 1e12).toFixed(0)} TFLOP/s`}</td>
            </tr>
          </tbody>
        </table>
      </section>
      <section class="card c12 scroll">
        <h2>{w("next")}</h2>
        <table>
          <thead>
            <tr>
              <th>{w("layout")}</th>
              <th class="num">{w("step")}</th>
              <th class="num">{w("free")}</th>
              <th>{w("slower")}</th>
            </tr>
          </thead>
          <tbody>
            {plan.alternatives.map((other) => (
              <tr key={other.name}>
                <td>{other.name}</td>
                <td class="num">{formatSeconds(other.seconds)}</td>
                <td class="num">{formatBytes(other.free)}</td>
                <td class="dim">{say(other.why, lang)}</td>
              </tr>
            ))}
          </tbody>
        </table>
        <h2 style={{ marginTop: "14px" }}>{w("left")}</h2>
        <ul class="plain dim">
          {plan.rejected.map((group) => (
            <li key={group.constraint}>{say(group.text, lang)}</li>
          ))}
        </ul>
      </section>
      <section class="card c12">
        <h2>{w("exports")}</h2>
        <div class="tabs" role="tablist">
          {Object.entries(answer.exports).map(([name, { ok }]) => (
            <button
              key={name}
              type="button"
              role="tab"
              class={ok ? "" : "off"}
              aria-selected={name === target.value}
              onClick={() => (target.value = name)}
            >
              {name}
            </button>
          ))}
        </div>
        <pre tabIndex={0}>{chosen?.text}</pre>
      </section>
    </div>
  );
}
