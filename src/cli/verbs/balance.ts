import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { InvalidArgumentError } from "commander";
import { EXIT, unwrap } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import {
  eplbMaps,
  expertsFail,
  inNodeBound,
  type LayerDecision,
  type LayerResult,
  layerBound,
  layerLoads,
  layerSlots,
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
  twinSlots,
  valuesOfRanks,
} from "../../experts/index.ts";
import { show, showAhead } from "../balance-show.ts";
import { makeScan, type ScanOptions } from "../balance-scan.ts";
import { type ForesightOptions, loadsOf, packWindow, placeTogether, readWindow } from "../foresight.ts";
import { cliFail } from "../errors.ts";
import type { Context, Verb } from "../context.ts";

type Options = ForesightOptions &
  ScanOptions & {
    readonly order?: string;
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
    command
      .argument("[loads]", "loads: JSON, NDJSON or CSV; - for stdin; not needed with --trace or --tokens")
      .requiredOption("--ranks <n>", "ranks that share the experts", whole)
      .option("--slots <n>", "slots of all ranks together (default: as many as experts)", whole)
      .option("--nodes <n>", "nodes with equally many ranks", whole, 1)
      .option("--groups <n>", "groups of a group-limited router", whole, 1)
      .option("--speed <rank=value,...>", "relative speed of ranks that differ", perRank)
      .option("--slots-on <rank=count,...>", "slots of ranks whose memory differs", perRank)
      .option("--previous <file>", "placement to start from: move little")
      .option("--out <file>", "write the placement to a file")
      .option("--format <tessera|eplb>", "form of the placement", form, "tessera")
      .option("--goal <ratio>", "ratio to the bound that is good enough", ratio, 1.003)
      .option("--horizon <steps>", "steps within which a move must pay back", number, 1000)
      .option("--bytes-per-expert <bytes>", "bytes that move with one expert", number, 925e6)
      .option("--seconds-per-token <s>", "seconds of one routed token in one layer", number, 1e-6)
      .option("--node-gbps <GB/s>", "bandwidth of a rank inside its node", number, 400)
      .option("--network-gbps <GB/s>", "bandwidth of a rank over the network", number, 50)
      .option("--trace <file>", "loads from a pre-scan: what each token of the data chose")
      .option(
        "--scan <model>",
        "make that pre-scan first: a Hugging Face folder, run forward once, no training",
      )
      .option("--data <file>", "packed rows to scan, as training reads them")
      .option("--rows <n>", "scan only the first rows of the data", whole)
      .option("--tokens <file>", "token ids of the data, a line a sample, for hash-routed layers")
      .option("--hash-table <file>", "experts of every token id in those layers")
      .option("--window <from:to>", "only these samples of the pre-scan", window)
      .option("--co-activation", "experts that tokens choose together on one node")
      .option("--micro-batches <n>", "which samples of the window share a micro-batch", whole)
      .option("--order <file>", "write micro-batches and sample nodes to a file")
      .action((file: string | undefined, options: Record<string, never>) =>
        act(async (context) => {
          await makeScan(context, options as unknown as Options);
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

function run(context: Context, file: string | undefined, options: Options): void {
  const ahead = unwrap(readWindow(options, (name) => readInput(context, name)));
  if ((ahead === undefined) === (file === undefined)) {
    const why = "give either a file of loads or --trace / --tokens / 請給負載檔，或 --trace、--tokens，擇一";
    throw expertsFail("EXPERTS_OPTION", { option: "loads", why });
  }
  if (options.coActivation && options.previous) {
    throw expertsFail("EXPERTS_OPTION", { option: "--co-activation", why: "not with --previous / 不能並用" });
  }
  if (options.order && !options.microBatches && !(options.coActivation && ahead?.length)) {
    const why =
      "needs --micro-batches, or --co-activation of samples / 需要 --micro-batches，或樣本的 --co-activation";
    throw expertsFail("EXPERTS_OPTION", { option: "--order", why });
  }
  const steps = file === undefined ? [] : unwrap(readLoads(readInput(context, file), file));
  const loads = unwrap(ahead ? loadsOf(ahead) : meanLoads(steps));
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
    ? unwrap(
        rebalance(before, loads, cost, {
          horizonSteps: options.horizon,
          goal: options.goal,
          safety: 1,
          partTwins: true,
        }),
      )
    : undefined;
  const each64 = ahead && options.microBatches ? ahead.samples / options.microBatches : 64;
  const together =
    ahead && options.coActivation
      ? unwrap(placeTogether(ahead, loads, shape, options.goal, each64))
      : undefined;
  const fresh = moved || together ? undefined : unwrap(plan(loads, shape, { goal: options.goal }));
  const placement = (moved ?? together ?? fresh)?.placement as Placement;
  const packed =
    ahead && options.microBatches
      ? unwrap(packWindow(ahead, placement, options.microBatches, together?.homes))
      : undefined;
  const seconds = (performance.now() - started) / 1000;
  const written =
    options.format === "eplb"
      ? { schema: "tessera.eplb-maps/v1", ...eplbMaps(placement) }
      : placementJson(placement);
  const order = {
    schema: "tessera.sample-order/v1",
    firstSample: ahead?.first ?? 0,
    samples: ahead?.samples ?? 0,
    ...(packed ? { microBatches: packed.batches } : {}),
    ...(together && ahead?.length ? { homes: Array.from(together.homes) } : {}),
  };
  if (options.order) writeFileAtomic(resolve(context.cwd, options.order), `${JSON.stringify(order)}\n`);
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
      // What the choice of nodes leaves the ranks.
      inNodes: shape.hierarchical || together ? inNodeBound(shape, layerSlots(placement, l), row) : undefined,
      transfers: decision?.traffic.transfers,
      why: decision?.why,
      remoteBefore: together?.before[l],
      remoteAfter: together?.after[l],
    };
  });
  const twins = loads.ids.reduce((sum, _, l) => sum + twinSlots(shape, layerSlots(before, l)).length, 0);
  context.data({
    schema: "tessera.balance/v1",
    planSeconds: seconds,
    steps: steps.length,
    ...(twins > 0 ? { twins } : {}),
    layers: rows.map(({ why, ...rest }) => ({ ...rest, ...(why ? { why } : {}) })),
    ...(moved ? { forecast: { ...moved.forecast, paybackSteps: finite(moved.forecast.paybackSteps) } } : {}),
    ...(ahead
      ? {
          foresight: {
            ...order,
            tokens: ahead.scan.traces[0]?.tokens ?? 0,
            ...(packed ? { slowestBefore: packed.before, slowestAfter: packed.after } : {}),
          },
        }
      : {}),
    placement: written,
  });
  show(context, loads, before, placement, rows, { seconds, twins, forecast: moved?.forecast }, options);
  showAhead(context, ahead, together, packed, options);
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

function readInput(context: Context, file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : resolve(context.cwd, file), "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ERR_STRING_TOO_LONG" || code === "ERR_FS_FILE_TOO_LARGE")
      throw expertsFail("EXPERTS_FILE_SIZE", { file }, { file }, cause);
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

function window(value: string): readonly [number, number] {
  const found = /^(\d+):(\d+)$/.exec(value);
  if (!found) throw new InvalidArgumentError("from:to");
  return [Number(found[1]), Number(found[2])];
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
