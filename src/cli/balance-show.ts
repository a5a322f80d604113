import { formatBytes, formatSeconds, type Text } from "../base/index.ts";
import {
  type BoundKind,
  type Forecast,
  layerLoads,
  layerSlots,
  type Loads,
  loadOfRanks,
  type Placement,
} from "../experts/index.ts";
import { balancePicture } from "./balance-picture.ts";
import type { Context } from "./context.ts";
import type { Together, Window } from "./foresight.ts";
import { table } from "./table.ts";

type Shown = { readonly previous?: string; readonly out?: string; readonly order?: string };

/** A layer as shown. */
export type Row = {
  readonly layer: number;
  readonly before: number;
  readonly after: number;
  readonly bound: number;
  readonly boundKind: BoundKind;
  readonly wall: readonly number[];
  readonly toBound: number;
  /** Least max/mean with every node's experts where they are; only where nodes are more than a place. */
  readonly inNodes: number | undefined;
  readonly transfers: number | undefined;
  readonly why: { readonly en: string; readonly zh: string } | undefined;
};

/** What was planned: how long that took, slots that held an expert their rank had already, and what moving costs and wins. */
type Planned = {
  readonly seconds: number;
  readonly twins: number;
  readonly forecast: Forecast | undefined;
};

/** Picture, table and talk of a balance. */
export function show(
  context: Context,
  loads: Loads,
  before: Placement,
  after: Placement,
  rows: readonly Row[],
  { seconds, twins, forecast }: Planned,
  options: Shown,
): void {
  const zh = context.lang === "zh";
  const worst = rows.reduce((a, b) => (b.before > a.before ? b : a));
  const l = loads.ids.indexOf(worst.layer);
  const ranksOf = (placement: Placement) =>
    loadOfRanks(placement.shape, layerSlots(placement, l), layerLoads(loads, l));
  context.out(
    balancePicture(ranksOf(before), ranksOf(after), before.shape.speed, {
      title: zh
        ? `第 ${worst.layer} 層（原本最差）各進程的負載`
        : `layer ${worst.layer} (the worst before), load of each rank`,
      before: zh ? "之前" : "before",
      after: zh ? "之後" : "after",
      mean: zh ? "平均" : "mean",
      legend: zh
        ? "每格一個進程，▄ 為平均，█ 為兩倍以上"
        : "a cell a rank, ▄ is the mean, █ twice that or more",
    }),
  );
  const shown = [...rows].sort((a, b) => b.before - a.before).slice(0, 12);
  const number = (en: string, chinese: string, cell: (row: Row) => string) => ({
    title: zh ? chinese : en,
    align: "right" as const,
    cell,
  });
  const columns = [
    number("layer", "層", (row) => String(row.layer)),
    number("before", "之前", (row) => row.before.toFixed(3)),
    number("after", "之後", (row) => row.after.toFixed(3)),
    number("bound", "下界", (row) => row.bound.toFixed(3)),
    number("to bound", "下界比", (row) => row.toBound.toFixed(4)),
    ...(rows.some((row) => row.inNodes !== undefined)
      ? [number("in nodes", "節點內下界", (row) => row.inNodes?.toFixed(3) ?? "")]
      : []),
    ...(options.previous
      ? [
          number("moved", "搬動", (row) => String(row.transfers ?? "")),
          { title: zh ? "原因" : "why", cell: (row: Row) => (row.why ? context.say(row.why) : "") },
        ]
      : []),
  ];
  context.out("");
  context.out(
    table(
      columns.map(({ cell: _, ...column }) => column),
      shown.map((row) => columns.map(({ cell }) => cell(row))),
    ),
  );
  if (rows.length > shown.length)
    context.out(
      zh ? `… 另外 ${rows.length - shown.length} 層` : `… and ${rows.length - shown.length} more layers`,
    );
  const far = rows.reduce((a, b) => (b.toBound > a.toBound ? b : a));
  context.talk(
    zh
      ? `${rows.length} 層規劃於 ${formatSeconds(seconds)}；離下界最遠的是第 ${far.layer} 層，${far.toBound.toFixed(4)} 倍`
      : `${rows.length} ${rows.length === 1 ? "layer" : "layers"} planned in ${formatSeconds(seconds)}; furthest from its bound is layer ${far.layer} at ${far.toBound.toFixed(4)}`,
  );
  const high = rows.reduce((a, b) => (b.bound > a.bound ? b : a));
  if (high.bound > HIGH) context.talk(context.say(whyHigh(high)));
  if (twins > 0) {
    context.talk(
      zh
        ? `${twins} 個槽位放著該進程已有的專家（EPLB 會如此，訓練不可）；改放別的專家，已計入搬動`
        : `${twins} slots held an expert that their rank has already (EPLB makes such, training takes none); they get another, counted in the moves`,
    );
  }
  if (forecast) {
    const bytes = formatBytes(forecast.traffic.nodeBytes + forecast.traffic.networkBytes);
    const network = formatBytes(forecast.traffic.networkBytes);
    const payback = Number.isFinite(forecast.paybackSteps) ? forecast.paybackSteps.toFixed(1) : "∞";
    context.talk(
      zh
        ? `搬動 ${forecast.traffic.transfers} 個專家，${bytes}（跨節點 ${network}），需 ${formatSeconds(forecast.moveSeconds)}；每步省 ${formatSeconds(forecast.savedSecondsPerStep)}，${payback} 步回本`
        : `moves ${forecast.traffic.transfers} experts, ${bytes} (${network} over the network), ${formatSeconds(forecast.moveSeconds)}; saves ${formatSeconds(forecast.savedSecondsPerStep)} a step, paid back in ${payback} steps`,
    );
  }
  if (options.out) context.talk(zh ? `放置寫入 ${options.out}` : `placement written to ${options.out}`);
}

/** A bound above this is explained: no placement with these slots helps. */
const HIGH = 1.05;

/** Why a layer's bound is what it is, and what would lower it. */
function whyHigh({ layer, bound, boundKind, wall }: Row): Text {
  const least = bound.toFixed(3);
  if (boundKind === "topology" && wall.length === 0) {
    return {
      en: `layer ${layer} cannot be below ${least}: its groups stay whole on a node`,
      zh: `第 ${layer} 層不可能低於 ${least}：各組須整組留在同一節點`,
    };
  }
  if (boundKind === "capacity") {
    return {
      en: `layer ${layer} cannot be below ${least}: some ranks have too few slots for their share of the load; give them more with --slots-on or --slots`,
      zh: `第 ${layer} 層不可能低於 ${least}：有些進程的槽位太少，放不下應分擔的負載；請以 --slots-on 或 --slots 增加`,
    };
  }
  const experts = wall.slice(0, 4).join(", ") + (wall.length > 4 ? ", …" : "");
  return {
    en: `layer ${layer} cannot be below ${least}: ${wall.length === 1 ? `expert ${experts} is` : `experts ${experts} are`} too heavy for these slots; more --slots give copies`,
    zh: `第 ${layer} 層不可能低於 ${least}：專家 ${experts} 對這些槽位太重；增加 --slots 可讓它們有副本`,
  };
}

/** What the pre-scan says and what was planned from it. */
export function showAhead(
  context: Context,
  ahead: Window | undefined,
  together: Together | undefined,
  packed: { before: number; after: number } | undefined,
  options: Shown,
): void {
  const zh = context.lang === "zh";
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  if (ahead) {
    const { tokens } = ahead.scan.traces[0] as { tokens: number };
    context.talk(
      zh
        ? `預掃：${ahead.samples > 0 ? `${ahead.samples} 個樣本，` : ""}${tokens} 個詞元；路由會隨訓練改變，請隔一段時間重掃`
        : `pre-scan: ${ahead.samples > 0 ? `${ahead.samples} samples, ` : ""}${tokens} tokens; routing moves with training, scan again from time to time`,
    );
  }
  if (together) {
    const [before, after] = [mean(together.before), mean(together.after)];
    const change = `${(Math.abs(1 - after / before) * 100).toFixed(1)} %`;
    const fewer = after <= before;
    context.talk(
      zh
        ? `每個詞元去的別的節點：${before.toFixed(2)} → ${after.toFixed(2)}（${fewer ? "少" : "多"} ${change}，依這次預掃）`
        : `other nodes a token visits: ${before.toFixed(2)} -> ${after.toFixed(2)} (${change} ${fewer ? "fewer" : "more"}, on this pre-scan)`,
    );
  }
  if (packed) {
    context.talk(
      zh
        ? `微批次最慢的進程：平均的 ${packed.before.toFixed(3)} → ${packed.after.toFixed(3)} 倍`
        : `slowest rank of the micro-batches: ${packed.before.toFixed(3)} -> ${packed.after.toFixed(3)} of the mean`,
    );
  }
  if (options.order)
    context.talk(zh ? `樣本順序寫入 ${options.order}` : `sample order written to ${options.order}`);
}
