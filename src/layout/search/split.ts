/**
 * Cuts layers into pipeline stages so that the slowest stage is as fast as can be.
 *
 * A layer may cost differently on every stage (mixed devices) and the two ends carry embedding, head and MTP. The least possible
 * maximum is found by bisection (for a limit, filling stages greedily in order is optimal); among cuts that keep the limit,
 * the one closest to proportional shares is taken, so that no stage is needlessly full.
 */
export type SplitCosts = {
  readonly layers: number;
  readonly stages: number;
  /** Cost of a layer on a stage. */
  readonly cost: (layer: number, stage: number) => number;
  /** What a stage carries besides layers. */
  readonly extra: (stage: number) => number;
  /** Most layers a stage may hold (memory); absent: no limit. */
  readonly most?: (stage: number) => number;
};

export function splitStages(costs: SplitCosts): number[][] | undefined {
  const { layers, stages } = costs;
  let low = 0;
  let high = 0;
  for (let s = 0; s < stages; s++) {
    let sum = costs.extra(s);
    for (let l = 0; l < layers; l++) sum += costs.cost(l, s);
    high = Math.max(high, sum);
  }
  if (!fill(costs, high)) return undefined;
  for (let round = 0; round < 40; round++) {
    const middle = (low + high) / 2;
    if (fill(costs, middle)) high = middle;
    else low = middle;
  }
  const limit = high * (1 + 1e-9);
  // Lazy filling pushes slack to the end; going backwards gives each stage the most it could leave to the ones after it.
  const greedy = fill(costs, limit) as number[];
  const latest = fillBackwards(costs, limit) as number[];
  const ends: number[] = [];
  let before = 0;
  for (let s = 0; s < stages; s++) {
    const free = (low: number, up: number) => Math.round((low + up) / 2);
    let end = s === stages - 1 ? layers : free(latest[s] as number, greedy[s] as number);
    while (end > before && sum(costs, before, end, s) > limit) end--;
    end = Math.max(end, latest[s] as number, before);
    ends.push(end);
    before = end;
  }
  return ends.map((end, s) => {
    const start = s === 0 ? 0 : (ends[s - 1] as number);
    return Array.from({ length: end - start }, (_, i) => start + i);
  });
}

/** Largest end of every stage under a limit, or undefined when the layers do not fit. */
function fill(costs: SplitCosts, limit: number): number[] | undefined {
  const { layers, stages, cost, extra, most } = costs;
  const ends: number[] = [];
  let next = 0;
  for (let s = 0; s < stages; s++) {
    let used = extra(s);
    if (used > limit) return undefined;
    const cap = most?.(s) ?? layers;
    const first = next;
    while (next < layers && next - first < cap && used + cost(next, s) <= limit) used += cost(next++, s);
    ends.push(next);
  }
  return next === layers ? ends : undefined;
}

/** Smallest end of every stage that still leaves the later stages a legal cut. */
function fillBackwards(costs: SplitCosts, limit: number): number[] | undefined {
  const { layers, stages, cost, extra, most } = costs;
  const ends = Array.from({ length: stages }, () => layers);
  let next = layers;
  for (let s = stages - 1; s >= 0; s--) {
    ends[s] = next;
    let used = extra(s);
    const cap = most?.(s) ?? layers;
    const last = next;
    while (next > 0 && last - next < cap && used + cost(next - 1, s) <= limit) used += cost(--next, s);
  }
  return next === 0 ? ends : undefined;
}

function sum(costs: SplitCosts, from: number, to: number, stage: number): number {
  let total = costs.extra(stage);
  for (let l = from; l < to; l++) total += costs.cost(l, stage);
  return total;
}
