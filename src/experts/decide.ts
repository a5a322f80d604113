import { err, formatBytes, formatSeconds, ok, type Result, say, type Text } from "../base/index.ts";
import type { CostModel } from "./cost.ts";
import { fail } from "./errors.ts";
import { type Forecaster, forecastLayer } from "./forecast.ts";
import type { Loads } from "./loads.ts";
import { migrateLayer } from "./migrate.ts";
import { layerBound } from "./layer-bound.ts";
import { noiseFloor, overDispersion } from "./noise.ts";
import { layerSlots, maxOverMean, type Placement } from "./placement.ts";
import { expected, type Forecast, type LayerDecision, NINE_OF_TEN, rebalance } from "./rebalance.ts";

export type ControllerOptions = {
  /** "advise" plans and explains but gives no command. */
  readonly mode: "act" | "advise";
  /** Steps left in the run, or less: a move must pay back within them. */
  readonly horizonSteps: number;
  readonly safety?: number;
  readonly goal?: number;
  /** Standard deviation over steps of the seconds by whose fall a gain is told; default 0. */
  readonly stepNoiseSeconds?: number;
  /** Micro-batches a step: the slowest rank is met in each, so chance weighs more the smaller they are. Default 1. */
  readonly microBatches?: number;
};

/** What a worker obeys at the next step boundary: for each layer that changes, the expert of every slot. */
export type RelocateCommand = {
  readonly do: "relocate";
  readonly placement: Readonly<Record<string, readonly number[]>>;
};

export type Decision = {
  readonly action: "act" | "advise" | "stay";
  readonly line: Text;
  readonly layers: readonly (LayerDecision & { readonly forecaster: Forecaster; readonly trust: number })[];
  readonly forecast: Forecast;
  readonly placement: Placement;
  /** Absent unless `action` is "act". */
  readonly command?: RelocateCommand;
};

/**
 * Decides from recorded loads whether experts should move now. Pure: same history, same decision.
 * Per layer: the forecaster that back-tests best guesses the loads; the noise floor comes from the steps' own spread; the share of a
 * planned gain that comes true is measured by planning on the older part of the history and looking at the newer part; the horizon is
 * cut to what the loads' half-life supports; and a gain that the noise of the steps would hide even over that horizon is left alone.
 * Errors: EXPERTS_HISTORY and those of `rebalance`.
 *
 * @param history loads of consecutive steps, oldest first, all of the same layers and experts
 */
export function decide(
  history: readonly Loads[],
  current: Placement,
  cost: CostModel,
  options: ControllerOptions,
): Result<Decision> {
  const last = history.at(-1);
  if (!last || history.length < 2) {
    return err(fail("EXPERTS_HISTORY", { why: `${history.length} steps / 步` }));
  }
  const odd = history.findIndex(
    (loads) => loads.experts !== last.experts || loads.ids.join() !== last.ids.join(),
  );
  if (odd >= 0)
    return err(fail("EXPERTS_HISTORY", { why: `step ${odd} is of other layers / 第 ${odd} 步的層不同` }));
  if (last.experts !== current.shape.experts || last.ids.join() !== current.ids.join()) {
    const got = current.shape.experts;
    return err(fail("EXPERTS_PLACEMENT_OTHER", { what: "experts", got, want: last.experts }));
  }
  const { shape } = current;
  const values = new Float64Array(last.values.length);
  const floors: number[] = [];
  const trust: number[] = [];
  const gainSpread: number[] = [];
  const forecasters: Forecaster[] = [];
  let life = Number.POSITIVE_INFINITY;
  for (let l = 0; l < last.layers; l++) {
    const rows = history.map((loads) => loads.values.subarray(l * loads.experts, (l + 1) * loads.experts));
    const guess = forecastLayer(rows);
    values.set(guess.loads, l * last.experts);
    forecasters.push(guess.forecaster);
    const tokens = guess.loads.reduce((sum, w) => sum + w, 0) / shape.ranks / (options.microBatches ?? 1);
    const floor = noiseFloor(shape.ranks, tokens, Math.max(1, overDispersion(rows)));
    floors.push(floor);
    const came = backTestGain(rows, layerSlots(current, l), current, floor);
    trust.push(came.share);
    gainSpread.push(came.spread);
    // What has not changed within the whole history may last as long as the horizon.
    if (guess.halfLifeSteps < history.length) life = Math.min(life, guess.halfLifeSteps / Math.LN2);
  }
  const horizonSteps = Math.min(options.horizonSteps, life);
  const planned = rebalance(current, { ...last, values }, cost, {
    ...options,
    horizonSteps,
    floors,
    trust,
    gainSpread,
  });
  if (!planned.ok) return planned;
  const layers = planned.value.layers.map((layer, l) => ({
    ...layer,
    forecaster: forecasters[l] as Forecaster,
    trust: trust[l] as number,
  }));
  const { forecast, placement } = planned.value;
  const moving = layers.filter((layer) => layer.act);
  const whole = forecast.savedSecondsPerStep * horizonSteps > (options.safety ?? 2) * forecast.moveSeconds;
  // Two means of so many steps, with and without the gain, must differ by more than chance makes them.
  const least = NINE_OF_TEN * (options.stepNoiseSeconds ?? 0) * Math.sqrt(2 / Math.max(1, horizonSteps));
  const hidden = moving.length > 0 && forecast.savedSecondsPerStep < least;
  if (moving.length === 0 || !whole || hidden) {
    const line = hidden ? hiddenLine(forecast.savedSecondsPerStep, least) : stayLine(layers);
    return ok({ action: "stay", line, layers, forecast, placement: current });
  }
  const command: RelocateCommand = {
    do: "relocate",
    placement: Object.fromEntries(
      moving.map((layer) => [
        String(layer.layer),
        Array.from(layerSlots(placement, current.ids.indexOf(layer.layer))),
      ]),
    ),
  };
  const line = actLine(moving, layers.length, forecast, options.mode);
  if (options.mode === "advise") return ok({ action: "advise", line, layers, forecast, placement });
  return ok({ action: "act", line, layers, forecast, placement, command });
}

/**
 * Share of a planned gain that would have come true: plan on the history without its newest part, compare on that part, both
 * judged against keeping the present slots. 1 when the history is too short to tell or there was nothing to gain. `spread`: standard
 * error of that share over the steps of the newer part.
 */
function backTestGain(
  rows: readonly Float64Array[],
  slots: Int32Array,
  current: Placement,
  floor: number,
): { share: number; spread: number } {
  const { shape } = current;
  const held = Math.min(8, Math.floor(rows.length / 3));
  if (held < 1 || rows.length - held < 2) return { share: 1, spread: 0 };
  const guess = forecastLayer(rows.slice(0, -held)).loads;
  const bound = layerBound(shape, guess);
  const moved = migrateLayer(shape, slots, guess, bound.time * 1.005).slots;
  const planned =
    expected(maxOverMean(shape, slots, guess), floor) - expected(maxOverMean(shape, moved, guess), floor);
  if (planned <= 1e-6) return { share: 1, spread: 0 };
  const real = rows
    .slice(-held)
    .map((row) => (maxOverMean(shape, slots, row) - maxOverMean(shape, moved, row)) / planned);
  const mean = real.reduce((sum, value) => sum + value, 0) / held;
  const square = real.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const spread = held > 1 ? Math.sqrt(square / (held - 1) / held) : 0;
  return { share: Math.min(1, Math.max(0, mean)), spread };
}

function stayLine(layers: readonly LayerDecision[]): Text {
  const worst = layers.reduce((a, b) => (b.before > a.before ? b : a));
  const params = { layer: worst.layer, ratio: worst.before.toFixed(3) };
  return both(
    {
      en: `no move: worst layer {layer} is at max/mean {ratio}; ${worst.why.en}`,
      zh: `不搬動：最差的第 {layer} 層 max/mean 為 {ratio}；${worst.why.zh}`,
    },
    params,
  );
}

function hiddenLine(saved: number, least: number): Text {
  return both(
    {
      en: "no move: it would save {saved} a step, and the noise of the steps hides what is below {least}",
      zh: "不搬動：每步只省 {saved}，而低於 {least} 的收益會被各步的雜訊淹沒",
    },
    { saved: formatSeconds(saved), least: formatSeconds(least) },
  );
}

function actLine(moving: readonly LayerDecision[], all: number, forecast: Forecast, mode: string): Text {
  const worst = moving.reduce((a, b) => (b.before > a.before ? b : a));
  const params = {
    verb: mode === "advise" ? "would move" : "move",
    zhVerb: mode === "advise" ? "建議搬動" : "搬動",
    transfers: forecast.traffic.transfers,
    layers: moving.length,
    all,
    before: worst.before.toFixed(3),
    after: worst.after.toFixed(3),
    layer: worst.layer,
    bytes: formatBytes(forecast.traffic.nodeBytes + forecast.traffic.networkBytes),
    seconds: formatSeconds(forecast.moveSeconds),
    saved: formatSeconds(forecast.savedSecondsPerStep),
    payback: steps(forecast.paybackSteps),
    low: steps(forecast.paybackRange[0]),
    high: steps(forecast.paybackRange[1]),
  };
  return both(
    {
      en: "{verb} {transfers} experts in {layers} of {all} layers (layer {layer}: {before} -> {after}), {bytes} in {seconds}; saves {saved} a step, paid back in {payback} steps ({low} to {high})",
      zh: "{zhVerb} {layers}/{all} 層的 {transfers} 個專家（第 {layer} 層：{before} → {after}），{bytes} 需 {seconds}；每步省 {saved}，{payback} 步回本（{low} 至 {high}）",
    },
    params,
  );
}

/** No run is as long as that: it says that nobody knows. */
const ENDLESS = 1e6;

const steps = (n: number): string => (n < ENDLESS ? n.toFixed(1) : "∞");

const both = (text: Text, params: Record<string, string | number>): Text => ({
  en: say(text, "en", params),
  zh: say(text, "zh", params),
});
