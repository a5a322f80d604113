import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { InvalidArgumentError } from "commander";
import { EXIT, formatBytes, formatSeconds, unwrap } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import {
  eplbMaps,
  type LayerDecision,
  type LayerResult,
  layerBound,
  layerLoads,
  layerSlots,
  type Loads,
  loadOfRanks,
  makeShape,
  maxOverMean,
  meanLoads,
  type Placement,
  placementJson,
  plan,
  readLoads,
  readPlacement,
  rebalance,
  startPlacement,
  valuesOfRanks,
} from "../../experts/index.ts";
import { balancePicture } from "../balance-picture.ts";
import { cliFail } from "../errors.ts";
import type { Context, Verb } from "../context.ts";
import { table } from "../table.ts";

type Options = {
  readonly ranks: number;
  readonly slots?: number;
  readonly nodes: number;
  readonly groups: number;
  readonly speed?: ReadonlyMap<number, number>;
  readonly slotsOn?: ReadonlyMap<number, number>;
  readonly previous?: string;
  readonly out?: string;
  readonly format: "tessera" | "eplb";
  readonly goal: number;
  readonly horizon: number;
  readonly bytesPerExpert: number;
  readonly secondsPerToken: number;
  readonly nodeGBps: number;
  readonly networkGBps: number;
};

/** Balances experts from a file of loads, without a run. */
export const balance: Verb = {
  name: "balance",
  summary: {
    en: "place experts on ranks from a file of loads, and say how far from the bound",
    zh: "由負載檔決定專家放在哪些進程，並說明離下界多遠",
  },
  define(command, act) {
    const zh = process.argv.some((word) => word.startsWith("zh") || word === "--lang=zh");
    const text = (en: string, chinese: string) => (zh ? chinese : en);
    command
      .argument(
        "<loads>",
        text("loads: JSON, NDJSON or CSV; - for stdin", "負載：JSON、NDJSON 或 CSV；- 為標準輸入"),
      )
      .requiredOption("--ranks <n>", text("ranks that share the experts", "分擔專家的進程數"), whole)
      .option(
        "--slots <n>",
        text(
          "slots of all ranks together (default: as many as experts)",
          "所有進程的槽位總數（預設等於專家數）",
        ),
        whole,
      )
      .option("--nodes <n>", text("nodes with equally many ranks", "節點數，每節點進程數相同"), whole, 1)
      .option("--groups <n>", text("groups of a group-limited router", "分組受限路由的組數"), whole, 1)
      .option(
        "--speed <rank=value,...>",
        text("relative speed of ranks that differ", "速度不同的進程的相對速度"),
        perRank,
      )
      .option(
        "--slots-on <rank=count,...>",
        text("slots of ranks whose memory differs", "記憶體不同的進程的槽位數"),
        perRank,
      )
      .option("--previous <file>", text("placement to start from: move little", "由此放置出發，少搬動"))
      .option("--out <file>", text("write the placement to a file", "把放置寫入檔案"))
      .option("--format <tessera|eplb>", text("form of the placement", "放置的格式"), form, "tessera")
      .option(
        "--goal <ratio>",
        text("ratio to the bound that is good enough", "足夠好的下界比"),
        ratio,
        1.003,
      )
      .option(
        "--horizon <steps>",
        text("steps within which a move must pay back", "須在多少步內回本"),
        number,
        1000,
      )
      .option(
        "--bytes-per-expert <bytes>",
        text("bytes that move with one expert", "搬一個專家的位元組"),
        number,
        925e6,
      )
      .option(
        "--seconds-per-token <s>",
        text("seconds of one routed token in one layer", "一個詞元在一層的秒數"),
        number,
        1e-6,
      )
      .option(
        "--node-gbps <GB/s>",
        text("bandwidth of a rank inside its node", "進程在節點內的頻寬"),
        number,
        400,
      )
      .option(
        "--network-gbps <GB/s>",
        text("bandwidth of a rank over the network", "進程跨節點的頻寬"),
        number,
        50,
      )
      .action((file: string, options: Record<string, never>) =>
        act((context) => {
          run(context, file, {
            ...(options as unknown as Options),
            nodeGBps: options["nodeGbps"] as unknown as number,
            networkGBps: options["networkGbps"] as unknown as number,
          });
          return EXIT.done;
        }),
      );
  },
};

function run(context: Context, file: string, options: Options): void {
  const steps = unwrap(readLoads(readInput(context, file), file));
  const loads = unwrap(meanLoads(steps));
  const { ranks } = options;
  const each = (options.slots ?? loads.experts) / ranks;
  const slotsPerRank = options.slotsOn && unwrap(valuesOfRanks(ranks, options.slotsOn, each));
  const speed = options.speed && unwrap(valuesOfRanks(ranks, options.speed, 1));
  const shape = unwrap(
    makeShape({
      experts: loads.experts,
      ranks: options.ranks,
      nodes: options.nodes,
      groups: options.groups,
      ...(options.slots === undefined ? {} : { slots: options.slots }),
      ...(slotsPerRank ? { slotsPerRank } : {}),
      ...(speed ? { speed } : {}),
    }),
  );
  const previous = options.previous;
  const before = previous
    ? unwrap(readPlacement(readInput(context, previous), loads.ids, shape, previous))
    : startPlacement(loads.ids, shape);
  const started = performance.now();
  const cost = {
    secondsPerToken: options.secondsPerToken,
    bytesPerExpert: options.bytesPerExpert,
    nodeBytesPerSecond: options.nodeGBps * 1e9,
    networkBytesPerSecond: options.networkGBps * 1e9,
  };
  const moved = previous
    ? unwrap(rebalance(before, loads, cost, { horizonSteps: options.horizon, goal: options.goal, safety: 1 }))
    : undefined;
  const fresh = moved ? undefined : unwrap(plan(loads, shape, { goal: options.goal }));
  const seconds = (performance.now() - started) / 1000;
  const placement = (moved ?? fresh)?.placement as Placement;
  const written =
    options.format === "eplb"
      ? { schema: "tessera.eplb-maps/v1", ...eplbMaps(placement) }
      : placementJson(placement);
  if (options.out) writeFileAtomic(resolve(context.cwd, options.out), `${JSON.stringify(written)}\n`);

  const rows = loads.ids.map((layer, l) => {
    const row = layerLoads(loads, l);
    const bound = (fresh?.layers[l] as LayerResult | undefined)?.bound ?? layerBound(shape, row);
    const ratio = maxOverMean(shape, layerSlots(placement, l), row);
    const decision = moved?.layers[l] as LayerDecision | undefined;
    return {
      layer,
      before: maxOverMean(shape, layerSlots(before, l), row),
      after: ratio,
      bound: bound.ratio,
      boundKind: bound.kind,
      wall: bound.wall.slice(0, 8),
      toBound: ratio / bound.ratio,
      transfers: decision?.traffic.transfers,
      why: decision?.why,
    };
  });
  context.data({
    schema: "tessera.balance/v1",
    planSeconds: seconds,
    steps: steps.length,
    layers: rows.map(({ why, ...rest }) => ({ ...rest, ...(why ? { why } : {}) })),
    ...(moved ? { forecast: { ...moved.forecast, paybackSteps: finite(moved.forecast.paybackSteps) } } : {}),
    placement: written,
  });
  show(context, loads, before, placement, rows, seconds, moved?.forecast, options);
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

type Row = {
  readonly layer: number;
  readonly before: number;
  readonly after: number;
  readonly bound: number;
  readonly toBound: number;
  readonly transfers: number | undefined;
  readonly why: { readonly en: string; readonly zh: string } | undefined;
};

function show(
  context: Context,
  loads: Loads,
  before: Placement,
  after: Placement,
  rows: readonly Row[],
  seconds: number,
  forecast:
    | {
        traffic: { transfers: number; nodeBytes: number; networkBytes: number };
        moveSeconds: number;
        savedSecondsPerStep: number;
        paybackSteps: number;
      }
    | undefined,
  options: Options,
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
    }),
  );
  const shown = [...rows].sort((a, b) => b.before - a.before).slice(0, 12);
  const columns = (
    zh ? ["層", "之前", "之後", "下界", "下界比"] : ["layer", "before", "after", "bound", "to bound"]
  ).map((title) => ({ title, align: "right" as const }));
  const withMoves = options.previous
    ? [...columns, { title: zh ? "搬動" : "moved", align: "right" as const }, { title: zh ? "原因" : "why" }]
    : columns;
  context.out("");
  context.out(
    table(
      withMoves,
      shown.map((row) => [
        String(row.layer),
        row.before.toFixed(3),
        row.after.toFixed(3),
        row.bound.toFixed(3),
        row.toBound.toFixed(4),
        String(row.transfers ?? ""),
        row.why ? context.say(row.why) : "",
      ]),
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
      : `${rows.length} layers planned in ${formatSeconds(seconds)}; furthest from its bound is layer ${far.layer} at ${far.toBound.toFixed(4)}`,
  );
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

function readInput(context: Context, file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : resolve(context.cwd, file), "utf8");
  } catch (cause) {
    throw cliFail(
      "CLI_FILE",
      { file, why: (cause as NodeJS.ErrnoException).code ?? String(cause) },
      { file },
      cause,
    );
  }
}

function whole(value: string): number {
  if (!/^\d+$/.test(value) || Number(value) < 1)
    throw new InvalidArgumentError("a whole number >= 1 / 正整數");
  return Number(value);
}

function perRank(value: string): ReadonlyMap<number, number> {
  const pairs = value.split(",").map((part) => part.split("=").map(Number));
  if (pairs.some((pair) => pair.length !== 2 || pair.some(Number.isNaN))) {
    throw new InvalidArgumentError("rank=value,rank=value");
  }
  return new Map(pairs as [number, number][]);
}

function number(value: string): number {
  const parsed = Number(value);
  if (!(parsed > 0 && Number.isFinite(parsed))) throw new InvalidArgumentError("a number > 0 / 正數");
  return parsed;
}

function ratio(value: string): number {
  const parsed = number(value);
  if (parsed < 1) throw new InvalidArgumentError(">= 1");
  return parsed;
}

function form(value: string): string {
  if (value !== "tessera" && value !== "eplb") throw new InvalidArgumentError("tessera | eplb");
  return value;
}
