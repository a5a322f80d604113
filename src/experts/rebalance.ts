import { err, ok, type Result, type Text } from "../base/index.ts";
import type { Bound } from "./bound.ts";
import { type CostModel, moveSeconds, slowestStage, type Traffic, trafficOf } from "./cost.ts";
import { fail } from "./errors.ts";
import { layerBound } from "./layer-bound.ts";
import { LayerPlanner } from "./layer-planner.ts";
import { layerLoads, type Loads } from "./loads.ts";
import { migrateLayer } from "./migrate.ts";
import { layerMoves, matchRanks, type Move } from "./moves.ts";
import { partTwins, twinSlots } from "./twins.ts";
import { checkPlacement, layerSlots, maxOverMean, type Placement } from "./placement.ts";

export type RebalanceOptions = {
  /** Steps over which a move must pay back. */
  readonly horizonSteps: number;
  /** Chance alone makes this max/mean, per layer (see `noiseFloor`); default 1. */
  readonly floors?: readonly number[];
  /** Share of the planned gain that is expected to come true, per layer (from a back-test); default 1. */
  readonly trust?: readonly number[];
  /** Relative standard deviation of that gain, per layer; default 0. */
  readonly gainSpread?: readonly number[];
  /** A move must win this many times its cost; default 2. */
  readonly safety?: number;
  /** Ratio to the bound that is good enough; default 1.005. */
  readonly goal?: number;
  /** Take a placement with an expert twice on a rank (EPLB makes such) and part the two, whatever that costs; default: refuse it. */
  readonly partTwins?: boolean;
};

/** What is planned for one layer and why. Ratios are planned max/mean; seconds are per step and for the move. */
export type LayerDecision = {
  readonly layer: number;
  readonly act: boolean;
  readonly before: number;
  readonly after: number;
  readonly bound: Bound;
  readonly floor: number;
  readonly moves: readonly Move[];
  readonly traffic: Traffic;
  readonly savedSeconds: number;
  readonly moveSeconds: number;
  readonly why: Text;
};

export type Forecast = {
  readonly savedSecondsPerStep: number;
  readonly moveSeconds: number;
  /** Steps until the saved time equals the move; Infinity if nothing is saved, 0 if nothing moves. */
  readonly paybackSteps: number;
  /** Where nine of ten paybacks fall if the errors of costs and loads are independent. */
  readonly paybackRange: readonly [number, number];
  readonly traffic: Traffic;
};

export type Rebalance = {
  readonly placement: Placement;
  readonly layers: readonly LayerDecision[];
  readonly forecast: Forecast;
};

/** The max/mean that will be seen when the plan says `planned` and chance alone makes `floor`: independent spreads add as squares. */
export const expected = (planned: number, floor: number): number => 1 + Math.hypot(planned - 1, floor - 1);

/**
 * New placement from the present one, layer by layer: the point of the balance-against-transfers curve that wins most time within the
 * horizon, or no move at all if the gain is within the noise or not paid back. Errors: EXPERTS_PLACEMENT_OTHER, EXPERTS_PLACEMENT_INVALID.
 */
export function rebalance(
  current: Placement,
  loads: Loads,
  cost: CostModel,
  options: RebalanceOptions,
): Result<Rebalance> {
  const { shape } = current;
  const fits = sameModel(current, loads, options.partTwins);
  if (!fits.ok) return fits;
  const slots = current.slots.slice();
  const planner = new LayerPlanner(shape, options.goal ?? 1.005);
  const layers = current.ids.map((id, l): LayerDecision => {
    const decision = decideLayer(current, loads, l, cost, options, planner);
    if (decision.slots) slots.set(decision.slots, l * shape.slots);
    return { layer: id, ...decision.report };
  });
  return ok({
    placement: { ...current, slots },
    layers,
    forecast: forecastOf(loads, layers, cost, shape.speed, options.gainSpread ?? []),
  });
}

/** Whether loads and a placement are of the same layers and experts, and the placement keeps the rules. */
export function sameModel(current: Placement, loads: Loads, twins = false): Result<Placement> {
  const pairs: [string, string | number, string | number][] = [
    ["experts", current.shape.experts, loads.experts],
    ["layers", current.ids.join(","), loads.ids.join(",")],
  ];
  for (const [what, got, want] of pairs) {
    if (got !== want) return err(fail("EXPERTS_PLACEMENT_OTHER", { what, got, want }));
  }
  return checkPlacement(current, twins);
}

type Candidate = {
  readonly slots: Int32Array;
  readonly ratio: number;
  readonly moves: Move[];
  readonly net: number;
};

function decideLayer(
  current: Placement,
  all: Loads,
  l: number,
  cost: CostModel,
  options: RebalanceOptions,
  planner: LayerPlanner,
): { slots?: Int32Array; report: Omit<LayerDecision, "layer"> } {
  const { shape } = current;
  const id = current.ids[l] as number;
  const loads = layerLoads(all, l);
  const before = layerSlots(current, l);
  const bound = layerBound(shape, loads);
  const floor = options.floors?.[l] ?? 1;
  const trust = options.trust?.[l] ?? 1;
  const goal = options.goal ?? 1.005;
  const safety = options.safety ?? 2;
  const ratioBefore = maxOverMean(shape, before, loads);
  const meanTime = bound.time / bound.ratio;
  const saved = (ratio: number) =>
    Math.max(0, expected(ratioBefore, floor) - expected(ratio, floor)) *
    meanTime *
    cost.secondsPerToken *
    trust;
  const judge = (slots: Int32Array): Candidate => {
    const ratio = maxOverMean(shape, slots, loads);
    const moves = layerMoves(shape, id, before, slots);
    const seconds = moveSeconds(shape, moves, cost);
    return { slots, ratio, moves, net: saved(ratio) * options.horizonSteps - safety * seconds };
  };
  const go = (found: Candidate, why: Text) => ({
    slots: found.slots,
    report: {
      act: true,
      before: ratioBefore,
      after: found.ratio,
      bound,
      floor,
      moves: found.moves,
      traffic: trafficOf(found.moves, cost),
      savedSeconds: saved(found.ratio),
      moveSeconds: moveSeconds(shape, found.moves, cost),
      why,
    },
  });
  const twins = twinSlots(shape, before).length > 0;
  const stand = twins ? partTwins(shape, before, loads) : before;
  const parted = twins ? judge(stand) : undefined;
  const stay = (why: Text, found?: Candidate) =>
    parted
      ? go(parted, PARTED)
      : {
          report: {
            act: false,
            before: ratioBefore,
            after: ratioBefore,
            bound,
            floor,
            moves: [],
            traffic: trafficOf([], cost),
            savedSeconds: 0,
            moveSeconds: found ? moveSeconds(shape, found.moves, cost) : 0,
            why,
          },
        };
  if (ratioBefore <= bound.ratio * goal) return stay(AT_BOUND);

  const full = migrateLayer(shape, stand, loads, bound.time * goal);
  let best = judge(full.slots);
  // Where along the curve is most won? Seconds are taken in proportion to transfers, then measured on the chosen point.
  const last = full.curve.at(-1) as { transfers: number };
  const perTransfer = moveSeconds(shape, best.moves, cost) / Math.max(1, last.transfers);
  let most = best.net;
  let stop = -1;
  for (const point of full.curve) {
    const ratio = (point.time / bound.time) * bound.ratio;
    const net = saved(ratio) * options.horizonSteps - safety * perTransfer * point.transfers;
    if (net > most * (1 + 1e-9)) {
      most = net;
      stop = point.transfers;
    }
  }
  if (stop > 0) {
    const part = judge(migrateLayer(shape, stand, loads, bound.time * goal, stop).slots);
    if (part.net > best.net) best = part;
  }
  if (best.ratio > bound.ratio * goal * 1.005) {
    const fresh = new Int32Array(shape.slots);
    planner.place(loads, fresh);
    const scratch = judge(matchRanks(shape, stand, fresh));
    if (scratch.net > best.net) best = scratch;
  }
  const gain = expected(ratioBefore, floor) - expected(best.ratio, floor);
  if (best.moves.length === 0) return stay(NO_BETTER, best);
  if (gain < (floor - 1) / 2) return stay(IN_NOISE, best);
  if (best.net <= (parted?.net ?? 0)) return stay(NOT_PAID, best);
  return go(best, PAYS);
}

const AT_BOUND: Text = { en: "already at the bound", zh: "已達下界" };
const IN_NOISE: Text = { en: "the gain is within the noise of the loads", zh: "收益在負載的雜訊之內" };
const NO_BETTER: Text = { en: "no better placement is found", zh: "找不到更好的放置" };
const NOT_PAID: Text = { en: "the move would not be paid back", zh: "搬動無法回本" };
const PARTED: Text = { en: "an expert stood twice on a rank", zh: "同一進程原有兩份同一專家" };
const PAYS: Text = { en: "the move pays back", zh: "搬動可以回本" };

/** Standard deviations on either side of the middle that hold nine of ten values of a normal distribution. */
export const NINE_OF_TEN = 1.645;

function forecastOf(
  loads: Loads,
  layers: readonly LayerDecision[],
  cost: CostModel,
  speed: Float64Array,
  gainSpread: readonly number[],
): Forecast {
  const speedSum = speed.reduce((sum, v) => sum + v, 0);
  const seconds = (of: (layer: LayerDecision) => number) =>
    layers.map((layer, l) => {
      const tokens = layerLoads(loads, l).reduce((sum, w) => sum + w, 0) / speedSum;
      return of(layer) * tokens * cost.secondsPerToken;
    });
  const beforeSeconds = seconds((layer) => expected(layer.before, layer.floor));
  const afterSeconds = beforeSeconds.map((value, l) => value - (layers[l] as LayerDecision).savedSeconds);
  const saved = slowestStage(beforeSeconds, cost.stageOf) - slowestStage(afterSeconds, cost.stageOf);
  const moving = layers.filter((layer) => layer.act);
  const move =
    moving.reduce((sum, layer) => sum + layer.moveSeconds, 0) +
    (moving.length > 0 ? (cost.fixedSeconds ?? 0) : 0);
  const paybackSteps = moving.length === 0 ? 0 : saved > 0 ? move / saved : Number.POSITIVE_INFINITY;
  const gain = layers.reduce((most, { act }, l) => (act ? Math.max(most, gainSpread[l] ?? 0) : most), 0);
  const wide = Math.exp(NINE_OF_TEN * Math.hypot(cost.spread?.token ?? 0, cost.spread?.move ?? 0, gain));
  return {
    savedSecondsPerStep: saved,
    moveSeconds: move,
    paybackSteps,
    paybackRange: [paybackSteps / wide, paybackSteps * wide],
    traffic: trafficOf(
      moving.flatMap((layer) => layer.moves),
      cost,
    ),
  };
}
