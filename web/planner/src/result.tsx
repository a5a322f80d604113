import {
  formatBytes,
  formatCount,
  formatSeconds,
  type Lang,
  say,
  type Text,
} from "../../../src/base/index.ts";
import {
  type FallbackPlan,
  type Plan,
  type PlannedTime,
  type RejectedRow,
  type WhatIf,
} from "../../../src/layout/index.ts";
import { Exports } from "./exports.tsx";
import { Puzzle, PuzzleTable, Split, Timeline } from "./pictures.tsx";
import type { Export, View, Winner } from "./protocol.ts";
import { type Word, word } from "./words.ts";

/** What arrives after the plan itself. */
export type Extras = {
  readonly exports?: Readonly<Record<string, Export>>;
  readonly fallbacks?: readonly FallbackPlan[];
  readonly whatIfs?: readonly WhatIf[];
  readonly rejected?: { readonly rows: readonly RejectedRow[]; readonly total: number };
};

type Props = {
  readonly plan: Plan;
  readonly view: View;
  /** The view is of another layout than the plan's. */
  readonly looking: boolean;
  readonly ms: number;
  readonly id: number;
  readonly full: boolean;
  /** Extras belong to an earlier question. */
  readonly stale: boolean;
  readonly dimmed: boolean;
  readonly extras: Extras;
  readonly lang: Lang;
  readonly theme: string;
  readonly look: (winner: Winner | undefined) => void;
  readonly why: (words: string) => void;
};

export function Result(props: Props) {
  const { plan, view, lang, extras, stale } = props;
  const w = (key: Word) => word(key, lang);
  const old = stale ? " stale" : "";
  return (
    <div
      class={`grid${props.dimmed ? " stale" : ""}`}
      data-ms={props.ms.toFixed(1)}
      data-id={props.id}
      data-full={String(props.full)}
    >
      <Hero {...props} />
      <section class="card c7">
        <h2>
          {w("puzzle")}
          <small>{w("puzzleSub")}</small>
        </h2>
        <Puzzle view={view} lang={lang} />
        <details>
          <summary>{w("numbers")}</summary>
          <PuzzleTable view={view} lang={lang} />
        </details>
      </section>
      <section class="card c5">
        <h2>{w("goes")}</h2>
        <Split time={view.time} lang={lang} />
        <details>
          <summary>{w("mfus")}</summary>
          <MfuTable time={view.time} lang={lang} />
        </details>
      </section>
      {view.bars.length > 0 ? (
        <section class="card c12">
          <h2>
            {w("timeline")}
            <small>{w("timelineSub")}</small>
          </h2>
          <Timeline bars={view.bars} ranks={view.layout.pp} lang={lang} theme={props.theme} />
        </section>
      ) : null}
      <section class="card c7">
        <h2>{w("why")}</h2>
        <ul class="plain" id="why">
          {plan.why.map((line) => (
            <li key={line.en}>{say(line, lang)}</li>
          ))}
        </ul>
      </section>
      <section class={`card c5${old}`}>
        <h2>{w("whatIf")}</h2>
        {extras.whatIfs ? <WhatIfs list={extras.whatIfs} lang={lang} /> : <Wait lang={lang} />}
      </section>
      <List {...props} />
      <section class={`card c12${old}`}>
        <h2>
          {w("lost")}
          <small>{w("lostSub")}</small>
        </h2>
        {extras.fallbacks ? <Fallbacks list={extras.fallbacks} lang={lang} /> : <Wait lang={lang} />}
      </section>
      <section class={`card c12${old}`}>
        <h2>{w("exports")}</h2>
        {extras.exports ? <Exports exports={extras.exports} lang={lang} /> : <Wait lang={lang} />}
      </section>
    </div>
  );
}

const Wait = ({ lang }: { lang: Lang }) => <p class="dim">{word("searching", lang)}</p>;

function Hero({ plan, view, looking, full, ms, lang, look }: Props) {
  const w = (key: Word) => word(key, lang);
  const { time } = view;
  const figures: [string, string, string][] = [
    ["seconds", formatSeconds(time.seconds), w("step")],
    ["tokens", formatCount(Math.round(time.tokensPerSecond)), w("tokens")],
    ["per-device", formatCount(Math.round(time.tokensPerSecondPerDevice)), w("perDevice")],
    ["mfu", `${(100 * time.mfu.model).toFixed(1)} %`, w("mfu")],
    ["free", formatBytes(view.free), w("free")],
  ];
  return (
    <section class={`card c12 hero${looking ? " looking" : ""}`}>
      <div class="title">
        <span class="tag">{w(looking ? "looking" : "best")}</span>
        {looking ? (
          <button type="button" id="back" onClick={() => look(undefined)}>
            {`← ${w("back")}`}
          </button>
        ) : (
          <span class="dim" role="status">
            {full
              ? `${plan.searched.considered.toLocaleString("en")} ${w("whole")} ${formatSeconds(ms / 1000)}`
              : w("provisional")}
          </span>
        )}
      </div>
      <div class="chips">
        {view.name.split(" ").map((part) => (
          <span key={part} class="chip" title={meaning(part, view, lang)}>
            {part}
          </span>
        ))}
      </div>
      <div class="figures">
        {figures.map(([key, value, name]) => (
          <div key={key}>
            <b data-figure={key}>{value}</b>
            <span>{name}</span>
          </div>
        ))}
      </div>
    </section>
  );
}

const CHIPS: readonly (readonly [RegExp, Text])[] = [
  [/^PP/, { en: "pipeline stages", zh: "流水線階段" }],
  [/^VPP/, { en: "virtual stages on each pipeline rank", zh: "每個流水線進程的虛擬階段" }],
  [/^TP/, { en: "ranks that share each matrix (tensor parallel)", zh: "共用矩陣的進程數（張量並行）" }],
  [/^CP/, { en: "ranks that share a sequence (context parallel)", zh: "共用一條序列的進程數（上下文並行）" }],
  [/^EP/, { en: "ranks that share the experts", zh: "分擔專家的進程數" }],
  [/^ETP/, { en: "ranks that share each expert's matrices", zh: "共用專家矩陣的進程數" }],
  [/^DP/, { en: "data ranks, over which states are sharded", zh: "資料並行，狀態在其間切分" }],
  [
    /^ZeRO/,
    { en: "what data ranks shard: 1 states, 2 gradients, 3 weights", zh: "切分：1 狀態、2 梯度、3 權重" },
  ],
  [/^MB/, { en: "sequences of a micro-batch", zh: "微批次的序列數" }],
  [/^swap/, { en: "optimizer state waits on the host", zh: "優化器狀態存於主機" }],
];

function meaning(part: string, { layout }: View, lang: Lang): string {
  const { recompute } = layout;
  if (part.startsWith("recompute") && recompute.kind === "selective") return recompute.regions.join(", ");
  const found = CHIPS.find(([pattern]) => pattern.test(part));
  return found ? say(found[1], lang) : part;
}

/** The layouts that come next, each with a door to its pictures, and the ones left out by constraint. */
function List({ plan, view, extras, lang, look, why, stale }: Props) {
  const w = (key: Word) => word(key, lang);
  const rows: { name: string; winner: Winner | undefined; seconds: number; free: number; text: Text }[] = [
    {
      name: plan.name,
      winner: undefined,
      seconds: plan.time.seconds,
      free: plan.free,
      text: { en: "–", zh: "–" },
    },
    ...plan.alternatives.map(({ name, layout, microBatch, seconds, free, why: text }) => ({
      name,
      winner: { layout, microBatch },
      seconds,
      free,
      text,
    })),
  ];
  const { rejected } = extras;
  return (
    <section class="card c12">
      <h2>
        {w("next")}
        <small>{w("nextSub")}</small>
      </h2>
      <div class="scroll" tabIndex={0} role="region" aria-label={w("next")}>
        <table id="list">
          <thead>
            <tr>
              <th>{w("layout")}</th>
              <th class="num">{w("step")}</th>
              <th class="num">{w("free")}</th>
              <th>{w("slower")}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.name} class={row.name === view.name ? "at" : ""}>
                <td>
                  <button
                    type="button"
                    class="link"
                    aria-pressed={row.name === view.name}
                    onClick={() => look(row.winner)}
                  >
                    {row.name}
                  </button>
                </td>
                <td class="num">{formatSeconds(row.seconds)}</td>
                <td class="num">{formatBytes(row.free)}</td>
                <td class="dim">{say(row.text, lang)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <h2 class="more">{w("left")}</h2>
      <ul class="plain dim">
        {plan.rejected.map((group) => (
          <li key={group.constraint}>{say(group.text, lang)}</li>
        ))}
      </ul>
      <form
        class={`row${stale ? " stale" : ""}`}
        onSubmit={(event) => {
          event.preventDefault();
          why(String(new FormData(event.currentTarget).get("words") ?? ""));
        }}
      >
        <label for="words">{w("leftFind")}</label>
        <input id="words" name="words" type="text" placeholder={w("leftHint")} autocomplete="off" />
        <button type="submit">→</button>
      </form>
      {rejected ? (
        <ul class="plain found" id="rejected" aria-live="polite">
          {rejected.rows.length === 0 ? <li class="dim">{w("leftNone")}</li> : null}
          {rejected.rows.map((row) => (
            <li key={`${row.name} ${row.constraint}`}>
              <span>{row.name}</span>
              <span class="dim">{say(row.text, lang)}</span>
            </li>
          ))}
          {rejected.total > rejected.rows.length ? (
            <li class="dim">{`… ${(rejected.total - rejected.rows.length).toLocaleString("en")}`}</li>
          ) : null}
        </ul>
      ) : null}
    </section>
  );
}

function WhatIfs({ list, lang }: { list: readonly WhatIf[]; lang: Lang }) {
  return (
    <ul class="plain gains">
      {list.map((what) => (
        <li key={what.change}>
          <span>{say(what.label, lang)}</span>
          <span class="num">{formatSeconds(what.seconds)}</span>
          <span class={`num ${what.gain > 0.0005 ? "good" : "dim"}`}>
            {what.gain > 0.0005 ? `−${(100 * what.gain).toFixed(1)} %` : "±0"}
          </span>
          <span class="dim name">{what.name}</span>
        </li>
      ))}
    </ul>
  );
}

function Fallbacks({ list, lang }: { list: readonly FallbackPlan[]; lang: Lang }) {
  const w = (key: Word) => word(key, lang);
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={w("lost")}>
      <table id="fallbacks">
        <thead>
          <tr>
            <th class="num">{w("lostNodes")}</th>
            <th class="num">{w("used")}</th>
            <th>{w("layout")}</th>
            <th class="num">{w("empty")}</th>
            <th class="num">{w("step")}</th>
            <th class="num">{w("speed")}</th>
            <th class="num">{w("moved")}</th>
            <th class="num">{w("restored")}</th>
            <th class="num">{w("takes")}</th>
            <th class="num">{w("grows")}</th>
          </tr>
        </thead>
        <tbody>
          {list.map((f) => (
            <tr key={f.lostNodes}>
              <td class="num">{f.lostNodes}</td>
              <td class="num">{`${f.world}/${f.devices}`}</td>
              <td>{f.name}</td>
              <td class="num">{f.emptySequences}</td>
              <td class="num">{formatSeconds(f.seconds)}</td>
              <td class="num">{`${(100 * f.speed).toFixed(0)} %`}</td>
              <td class="num">{formatBytes(f.shrink.movedBytes)}</td>
              <td class="num">{formatBytes(f.shrink.restoredBytes)}</td>
              <td class="num">{formatSeconds(f.shrink.seconds)}</td>
              <td class="num">{formatSeconds(f.grow.seconds)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const MFU_NAMES = [
  [
    "model",
    { en: "visible pairs, no recompute, bf16 peak (default)", zh: "可見配對、不計重算、bf16 峰值（預設）" },
  ],
  ["fullAttention", { en: "every pair counted", zh: "計入全部配對" }],
  ["parametersOnly", { en: "6 x active parameters", zh: "6 x 活躍參數" }],
  ["withRecompute", { en: "recomputation counted", zh: "計入重算" }],
  ["formatPeak", { en: "peak of the format that runs", zh: "以實際格式的峰值計" }],
] as const satisfies readonly (readonly [string, Text])[];

function MfuTable({ time, lang }: { time: PlannedTime; lang: Lang }) {
  return (
    <table class="tight">
      <tbody>
        {MFU_NAMES.map(([key, text]) => (
          <tr key={key}>
            <td>{say(text, lang)}</td>
            <td class="num">{`${(100 * time.mfu[key]).toFixed(2)} %`}</td>
          </tr>
        ))}
        <tr>
          <td class="dim">{`FLOP/token · ${lang === "zh" ? "峰值" : "peak"}`}</td>
          <td class="num dim">{`${formatCount(time.mfu.flopsPerToken)} · ${(time.mfu.peakFlops / 1e12).toFixed(0)} TFLOP/s`}</td>
        </tr>
      </tbody>
    </table>
  );
}
