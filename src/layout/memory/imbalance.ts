/**
 * What a recorded routing means for a layout: how much more than its even share an expert-parallel rank takes.
 *
 * Experts lie on ranks in order. Time pays in each layer for the rank that is slowest there, so `slowest` is a mean over steps and
 * layers of the largest share. Memory keeps what a rank received in all its layers, so `p50` and `p99` are quantiles over steps and
 * ranks of a rank's mean share. Steps hold many micro-batches: single ones vary more than the record shows.
 */
export type RoutingLoad = {
  readonly ep: number;
  /** Most loaded rank over the mean, layer by layer. */
  readonly slowest: number;
  /** Load of the median rank and of the one at the 99th percentile, over the even share. */
  readonly p50: number;
  readonly p99: number;
};

/** Load of every ep rank against its even share; slot i of `placement` holds expert placement[i]. */
export function rankLoads(
  histogram: ArrayLike<number>,
  ep: number,
  placement?: readonly number[],
): Float64Array {
  const slots = placement ?? Array.from({ length: histogram.length }, (_, i) => i);
  const copies = new Map<number, number>();
  for (const expert of slots) copies.set(expert, (copies.get(expert) ?? 0) + 1);
  const each = slots.length / ep;
  const ranks = new Float64Array(ep);
  let total = 0;
  for (let slot = 0; slot < slots.length; slot++) {
    const expert = slots[slot] as number;
    const tokens = (histogram[expert] ?? 0) / (copies.get(expert) as number);
    const rank = Math.floor(slot / each);
    ranks[rank] = (ranks[rank] as number) + tokens;
    total += tokens;
  }
  return total === 0 ? ranks.fill(1) : ranks.map((tokens) => (tokens * ep) / total);
}

const quantile = (sorted: Float64Array, q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] as number;

/**
 * Loads for every degree that divides the experts. `steps[s][l][e]`: tokens of expert e in layer l in step s, in any unit; all
 * rows equally long, none empty.
 */
export function routingLoads(steps: readonly (readonly ArrayLike<number>[])[]): RoutingLoad[] {
  const experts = steps[0]?.[0]?.length ?? 0;
  const out: RoutingLoad[] = [];
  for (let ep = 2; ep <= experts; ep++) {
    if (experts % ep !== 0) continue;
    let slowest = 0;
    let rows = 0;
    const shares = new Float64Array(steps.length * ep);
    steps.forEach((layers, s) => {
      for (const row of layers) {
        const ranks = rankLoads(row, ep);
        slowest += Math.max(...ranks);
        rows++;
        for (let r = 0; r < ep; r++) {
          shares[s * ep + r] = (shares[s * ep + r] as number) + (ranks[r] as number) / layers.length;
        }
      }
    });
    shares.sort();
    out.push({ ep, slowest: slowest / rows, p50: quantile(shares, 0.5), p99: quantile(shares, 0.99) });
  }
  return out;
}
