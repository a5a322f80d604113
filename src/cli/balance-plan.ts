import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { TesseraError, unwrap } from "../base/index.ts";
import {
  expertsFail,
  inNodeBound,
  layerBound,
  layerLoads,
  layerSlots,
  type Loads,
  makeShape,
  maxOverMean,
  meanLoads,
  type Placement,
  plan,
  readLoads,
  readPlacement,
  type Rebalance,
  rebalance,
  type Shape,
  startPlacement,
  twinSlots,
  valuesOfRanks,
} from "../experts/index.ts";
import type { ScanOptions } from "./balance-scan.ts";
import type { Row } from "./balance-show.ts";
import type { Context } from "./context.ts";
import { cliFail } from "./errors.ts";
import {
  type ForesightOptions,
  loadsOf,
  packWindow,
  placeTogether,
  readWindow,
  type Together,
  type Window,
} from "./foresight.ts";

/** What `tessera balance` may be asked. */
export type BalanceOptions = ForesightOptions &
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

/** Files as read and checked: nothing is planned before all of them hold. */
export type Question = {
  readonly loads: Loads;
  /** Steps that the loads are the mean of; 0 where they come from a pre-scan. */
  readonly steps: number;
  readonly ahead: Window | undefined;
  readonly shape: Shape;
  readonly before: Placement;
};

export function readQuestion(context: Context, file: string | undefined, options: BalanceOptions): Question {
  const ahead = unwrap(readWindow(options, (name) => readInput(context, name)));
  const clash = clashOf(file, options, ahead);
  if (clash) throw expertsFail("EXPERTS_OPTION", clash);
  const steps = file === undefined ? [] : unwrap(readLoads(readInput(context, file), file));
  const loads = unwrap(ahead ? loadsOf(ahead) : meanLoads(steps));
  const shape = shapeOf(options, loads.experts);
  const { previous } = options;
  const before = previous
    ? unwrap(readPlacement(readInput(context, previous), loads.ids, shape, previous))
    : startPlacement(loads.ids, shape);
  return { loads, steps: steps.length, ahead, shape, before };
}

/** The first pair of options that cannot stand together. */
function clashOf(
  file: string | undefined,
  options: BalanceOptions,
  ahead: Window | undefined,
): { option: string; why: string } | undefined {
  if ((ahead === undefined) === (file === undefined)) {
    const why = "give either a file of loads or --trace / --tokens / 請給負載檔，或 --trace、--tokens，擇一";
    return { option: "loads", why };
  }
  if (options.coActivation && options.previous) {
    return { option: "--co-activation", why: "not with --previous / 不能並用" };
  }
  if (options.order && !options.microBatches && !(options.coActivation && ahead?.length)) {
    const why =
      "needs --micro-batches, or --co-activation of samples / 需要 --micro-batches，或樣本的 --co-activation";
    return { option: "--order", why };
  }
  return undefined;
}

function shapeOf({ ranks, slots, nodes, groups, slotsOn, speed }: BalanceOptions, experts: number): Shape {
  const each = (slots ?? experts) / ranks;
  return unwrap(
    makeShape({
      experts,
      ranks,
      nodes,
      groups,
      ...(slots === undefined ? {} : { slots }),
      ...(slotsOn ? { slotsPerRank: unwrap(valuesOfRanks(ranks, slotsOn, each)) } : {}),
      ...(speed ? { speed: unwrap(valuesOfRanks(ranks, speed, 1)) } : {}),
    }),
  );
}

export type Answer = {
  readonly placement: Placement;
  readonly moved: Rebalance | undefined;
  readonly together: Together | undefined;
  readonly packed:
    | { readonly batches: number[][]; readonly before: number; readonly after: number }
    | undefined;
  /** Slots of the placement before that held an expert their rank had already. */
  readonly twins: number;
  readonly seconds: number;
};

/** Plans: from where the experts are, for tokens that choose experts together, or from scratch. */
export function answerOf({ loads, ahead, shape, before }: Question, options: BalanceOptions): Answer {
  const { goal, horizon, microBatches } = options;
  const started = performance.now();
  const cost = {
    secondsPerToken: options.secondsPerToken,
    bytesPerExpert: options.bytesPerExpert,
    nodeBytesPerSecond: options.nodeGBps * 1e9,
    networkBytesPerSecond: options.networkGBps * 1e9,
  };
  const moved = options.previous
    ? unwrap(rebalance(before, loads, cost, { horizonSteps: horizon, goal, safety: 1, partTwins: true }))
    : undefined;
  const batch = ahead && microBatches ? ahead.samples / microBatches : 64;
  const together =
    ahead && options.coActivation ? unwrap(placeTogether(ahead, loads, shape, goal, batch)) : undefined;
  const { placement } = moved ?? together ?? unwrap(plan(loads, shape, { goal }));
  const packed =
    ahead && microBatches ? unwrap(packWindow(ahead, placement, microBatches, together?.homes)) : undefined;
  const twins = loads.ids.reduce((sum, _, l) => sum + twinSlots(shape, layerSlots(before, l)).length, 0);
  return { placement, moved, together, packed, twins, seconds: (performance.now() - started) / 1000 };
}

/** The sample order of the window, as a recipe's `data.order` reads it. */
export const orderOf = ({ ahead }: Question, { packed, together }: Answer) => ({
  schema: "tessera.sample-order/v1",
  firstSample: ahead?.first ?? 0,
  samples: ahead?.samples ?? 0,
  ...(packed ? { microBatches: packed.batches } : {}),
  ...(together && ahead?.length ? { homes: Array.from(together.homes) } : {}),
});

/** What is told of each layer. */
export function rowsOf(
  { loads, shape, before }: Question,
  { placement, moved, together }: Answer,
): (Row & { readonly remoteBefore: number | undefined; readonly remoteAfter: number | undefined })[] {
  return loads.ids.map((layer, l) => {
    const row = layerLoads(loads, l);
    const bound = layerBound(shape, row);
    const ratio = maxOverMean(shape, layerSlots(placement, l), row);
    const decision = moved?.layers[l];
    return {
      layer,
      before: maxOverMean(shape, layerSlots(before, l), row),
      after: ratio,
      bound: bound.ratio,
      boundKind: bound.kind,
      wall: bound.wall.slice(0, 8),
      toBound: ratio / bound.ratio,
      inNodes: shape.hierarchical || together ? inNodeBound(shape, layerSlots(placement, l), row) : undefined,
      transfers: decision?.traffic.transfers,
      why: decision?.why,
      remoteBefore: together?.before[l],
      remoteAfter: together?.after[l],
    };
  });
}

/** No string of Node can hold more. */
const MOST_BYTES = 512 * 2 ** 20;

function readInput(context: Context, file: string): string {
  const tooLarge = (cause?: unknown) => expertsFail("EXPERTS_FILE_SIZE", { file }, { file }, cause);
  try {
    const source = file === "-" ? 0 : resolve(context.cwd, file);
    // Before memory is taken for it.
    if (source !== 0 && statSync(source).size > MOST_BYTES) throw tooLarge();
    return readFileSync(source, "utf8");
  } catch (cause) {
    if (cause instanceof TesseraError) throw cause;
    if ((cause as NodeJS.ErrnoException).code === "ERR_STRING_TOO_LONG") throw tooLarge(cause);
    throw cliFail(
      "CLI_FILE",
      { file, why: (cause as NodeJS.ErrnoException).code ?? String(cause) },
      { file },
      cause,
    );
  }
}
