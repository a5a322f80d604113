import { formatBytes, formatSeconds, type Lang, say } from "../../base/index.ts";
import {
  buildOrder,
  CATEGORIES,
  CATEGORY_NAMES,
  type Category,
  type Layout,
  type MemoryReport,
  PASS,
  passKind,
  passMicro,
  passStage,
  type PlannedTime,
  simulate,
  STEP_TERMS,
  type StepTerm,
  type StepTime,
  TERM_NAMES,
} from "../../layout/index.ts";
import { paint } from "../context.ts";

/** Pictures for the terminal. Colours help, but every picture reads without them too. */
type Style = Parameters<typeof paint>[0];

const CATEGORY_LOOK: Readonly<Record<Category, readonly [string, Style]>> = {
  weights: ["W", "blue"],
  gradients: ["G", "cyan"],
  optimizer: ["O", "magenta"],
  activations: ["A", "green"],
  unshard: ["U", "yellow"],
  communication: ["C", "yellow"],
  loss: ["L", "red"],
  workspace: ["T", "gray"],
};

/** The puzzle: one bar a pipeline rank (ranks of a stage that hold alike share it), one block a category. */
export function puzzle(memory: MemoryReport, capacity: readonly number[], lang: Lang, columns = 64): string {
  const most = Math.max(...capacity);
  const rows = memory.classes.map((c) => {
    const room = capacity[c.ppRank] as number;
    const cell = (bytes: number) => Math.round((bytes / most) * columns);
    let used = 0;
    let bar = "";
    let drawn = 0;
    const block = (bytes: number, letter: string, style: Style) => {
      used += bytes;
      const to = Math.min(cell(used), columns + 8);
      if (to > drawn) bar += paint(style, letter.repeat(to - drawn));
      drawn = Math.max(drawn, to);
    };
    for (const category of CATEGORIES) block(c.memory.bytes[category], ...CATEGORY_LOOK[category]);
    block(c.memory.fragmentation, "F", "gray");
    block(c.memory.framework, "X", "gray");
    const edge = cell(room);
    const over = used > room;
    bar += drawn < edge ? "·".repeat(edge - drawn) : "";
    const last = c.first + c.count - 1;
    const name = c.count === 1 ? `${c.first}` : `${c.first}-${last}`;
    return `PP${String(c.ppRank).padEnd(3)} ${name.padStart(11)}  ${bar}│ ${formatBytes(used)} / ${formatBytes(room)}${over ? " !" : ""}`;
  });
  const legend = CATEGORIES.map(
    (c) => `${paint(CATEGORY_LOOK[c][1], CATEGORY_LOOK[c][0])} ${say(CATEGORY_NAMES[c], lang)}`,
  );
  legend.push(lang === "zh" ? "F 碎片 X 框架 · 空閒" : "F fragmentation, X framework, · free");
  // Many stages would scroll the picture away: the ends and the fullest tell the story.
  const shown =
    rows.length <= 24 ? rows : [...rows.slice(0, 11), `   … ${rows.length - 22} …`, ...rows.slice(-11)];
  return [...shown, legend.join("  ")].join("\n");
}

/** One line a pipeline rank over time: digits for forwards (micro-batch mod 10), letters for backwards, w weight gradients. */
export function timeline(layout: Layout, time: StepTime, columns = 96): string {
  if (layout.pp === 1) return "";
  const micros = time.microBatches;
  const order = buildOrder(layout.schedule, layout.pp, layout.vpp, micros);
  const run = simulate(order, time.costs, true);
  const { start, end } = run;
  if (!start || !end) return "";
  // A long step is shown from its start: warm-up and the first rounds are what differs between schedules.
  const shown = Math.min(run.seconds, (run.seconds / micros) * Math.min(micros, 3 * layout.pp + 4));
  const rows: string[] = [];
  for (let rank = 0; rank < layout.pp; rank++) {
    const cells = Array.from({ length: columns }, () => "·");
    for (let at = order.starts[rank] as number; at < (order.starts[rank + 1] as number); at++) {
      const from = Math.floor(((start[at] as number) / shown) * columns);
      const to = Math.max(from + 1, Math.floor(((end[at] as number) / shown) * columns));
      const word = order.passes[at] as number;
      const kind = passKind(word);
      const micro = passMicro(word) % 10;
      const forward = kind === PASS.forward || kind === PASS.forwardPaired;
      const mark =
        kind === PASS.backwardWeight ? "w" : forward ? String(micro) : String.fromCharCode(97 + micro);
      const second = passStage(word) >= layout.pp;
      const style: Style =
        kind === PASS.backwardWeight
          ? "gray"
          : forward
            ? second
              ? "cyan"
              : "blue"
            : second
              ? "yellow"
              : "green";
      for (let x = from; x < Math.min(to, columns); x++) cells[x] = paint(style, mark);
    }
    rows.push(`PP${String(rank).padEnd(3)} ${cells.join("")}`);
  }
  return rows.join("\n");
}

const COMM: readonly StepTerm[] = ["tensor", "context", "expert", "pipeline", "data"];

/** Where the step goes: a bar a term, longest first, communication marked. */
export function split(time: PlannedTime, lang: Lang, columns = 40): string {
  return STEP_TERMS.map((term) => ({ term, seconds: time.breakdown[term] }))
    .filter(({ seconds }) => seconds > 0.0005 * time.seconds)
    .sort((a, b) => b.seconds - a.seconds)
    .map(({ term, seconds }) => {
      const share = seconds / time.seconds;
      const bar = "█".repeat(Math.max(1, Math.round(share * columns)));
      const style: Style = COMM.includes(term) ? "yellow" : term === "bubble" ? "gray" : "blue";
      return `${`${(100 * share).toFixed(1)} %`.padStart(7)} ${formatSeconds(seconds).padStart(9)}  ${paint(style, bar)} ${say(TERM_NAMES[term], lang)}`;
    })
    .join("\n");
}
