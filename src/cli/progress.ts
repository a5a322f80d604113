import { formatCount, formatSeconds, type Text } from "../base/index.ts";
import type { PhaseName, Progress } from "../run/index.ts";
import type { Context } from "./context.ts";
import { width } from "./table.ts";
import { phaseName } from "./tell.ts";

const BAR = 20;
/** Without a terminal: a line at most this often, and at the end of a phase. */
const PLAIN_MS = 5000;
/** On a terminal: redraws at most this often. */
const LIVE_MS = 80;

/**
 * The progress of a run on stderr. On a terminal one line redraws in place, with lines of talk above it; elsewhere plain lines come
 * now and then. `now` in milliseconds.
 */
export class ProgressLine {
  readonly #context: Context;
  readonly #write: (text: string) => void;
  readonly #now: () => number;
  #columns: () => number;
  #drawn = "";
  #last = Number.NEGATIVE_INFINITY;
  #place = "";
  #latest: Progress | null = null;
  #shown: Progress | null = null;

  constructor(
    context: Context,
    stream: { write(text: string): void; columns: () => number },
    now: () => number,
  ) {
    this.#context = context;
    this.#write = (text) => stream.write(text);
    this.#columns = stream.columns;
    this.#now = now;
  }

  phase(phase: PhaseName, at: number, of: number, done: boolean): void {
    this.finishPhase();
    this.#place = `[${at + 1}/${of}]`;
    this.#last = Number.NEGATIVE_INFINITY;
    const what = done
      ? { en: "{place} {phase}: done before", zh: "{place} {phase}：先前已完成" }
      : { en: "{place} {phase}", zh: "{place} {phase}" };
    this.talk(this.#context.say(what, { place: this.#place, phase: phaseName(this.#context, phase) }));
  }

  update(progress: Progress): void {
    this.#latest = progress;
    const now = this.#now();
    if (now - this.#last < (this.#context.live ? LIVE_MS : PLAIN_MS)) return;
    this.#last = now;
    this.#show(progress);
  }

  /** The last state of a phase is always shown. */
  finishPhase(): void {
    if (this.#latest && this.#latest !== this.#shown) this.#show(this.#latest);
    this.#latest = null;
    if (this.#drawn) {
      this.#write("\n");
      this.#drawn = "";
    }
  }

  /** A line of talk; the progress line moves down. */
  talk(text: string): void {
    if (this.#context.quiet) return;
    this.#write(this.#drawn ? `\r\u001b[K${text}\n${this.#drawn}` : `${text}\n`);
  }

  #show(progress: Progress): void {
    if (this.#context.quiet) return;
    this.#shown = progress;
    const text = progressText(this.#context, progress, this.#place, this.#context.live);
    if (!this.#context.live) {
      this.#write(`${text}\n`);
      return;
    }
    this.#drawn = cut(text, Math.max(20, this.#columns() - 1));
    this.#write(`\r\u001b[K${this.#drawn}`);
  }
}

/** Progress of bytes, in a unit that a line has room for. */
export const mebibytes = (done: number, total: number) => ({
  done: Math.ceil(done / 2 ** 20),
  total: Math.ceil(total / 2 ** 20),
  unit: "MiB",
});

/** One state of progress in words. */
export function progressText(context: Context, progress: Progress, place: string, bar: boolean): string {
  const { phase, done, total, unit, rate, rateUnit, loss, remainingSeconds, note } = progress;
  const share = total ? Math.min(1, done / total) : null;
  const parts = [`${place} ${phaseName(context, phase)}`];
  if (share !== null && bar) parts.push("█".repeat(Math.round(share * BAR)).padEnd(BAR, "░"));
  // Steps of a phase that have their own share inside: the note says which one it is.
  if (unit !== "part")
    parts.push(`${unitText(context, unit)} ${formatCount(done)}${total ? `/${formatCount(total)}` : ""}`);
  if (share !== null) parts.push(`${Math.floor(share * 100)} %`);
  if (rate !== undefined)
    parts.push(
      `${formatCount(rate < 100 ? Number(rate.toFixed(1)) : Math.round(rate))} ${unitText(context, rateUnit ?? unit)}/s`,
    );
  if (loss !== undefined)
    parts.push(
      context.say(
        { en: "loss {loss}", zh: "損失 {loss}" },
        { loss: Number.isFinite(loss) ? loss.toFixed(4) : String(loss) },
      ),
    );
  if (remainingSeconds !== undefined && remainingSeconds > 0) {
    parts.push(
      context.say({ en: "{left} left", zh: "尚需 {left}" }, { left: formatSeconds(remainingSeconds) }),
    );
  }
  if (note) parts.push(note.replace(/^[a-z ]*[a-z]/, (words) => context.say(NOTES[words] ?? both(words))));
  return parts.join("  ");
}

const both = (text: string): Text => ({ en: text, zh: text });

/** What a phase is doing at the moment, as its parts name themselves. */
const NOTES: Readonly<Record<string, Text>> = {
  produce: { en: "produce", zh: "產生" },
  gate: { en: "gate", zh: "求解驗證" },
  dedup: { en: "deduplicate", zh: "去重" },
  decontaminate: { en: "decontaminate", zh: "去汙染" },
  classify: { en: "classify", zh: "分類" },
  select: { en: "select", zh: "選取" },
  pack: { en: "pack", zh: "打包" },
  "base answers": { en: "base answers", zh: "基礎模型作答" },
  "candidate answers": { en: "candidate answers", zh: "訓練後模型作答" },
  solving: { en: "solving", zh: "求解" },
  retention: { en: "general text", zh: "通用文本" },
  tokenizer: { en: "tokenizer", zh: "分詞器" },
  scan: { en: "scan of the routing", zh: "預掃路由" },
};

const UNITS: Readonly<Record<string, Text>> = {
  step: { en: "step", zh: "步" },
  tokens: { en: "tokens", zh: "詞元" },
  row: { en: "row", zh: "列" },
  problems: { en: "problems", zh: "題" },
  item: { en: "item", zh: "題" },
};

const unitText = (context: Context, unit: string): string => context.say(UNITS[unit] ?? both(unit));

function cut(text: string, columns: number): string {
  let out = text;
  while (width(out) > columns) out = out.slice(0, -1);
  return out;
}
