/** The worst moment of a rank, found over its schedule, and the memory record made from it. */
import { fragmentation } from "./fragmentation.ts";
import type { Extra, StageNeed } from "./parts.ts";
import type { Moment } from "./timeline.ts";
import type { Bytes, RankMemory } from "./types.ts";

/** The worst moment of a rank: what stays, and the pass that needs most on top. */
export type Peak = {
  readonly moment: Moment;
  readonly kept: number;
  readonly loss: number;
  readonly extra: Extra;
};

export function peakOf(
  moments: readonly Moment[],
  stages: readonly number[],
  needs: ReadonlyMap<number, StageNeed>,
  named: (backward: boolean) => number,
): Peak {
  let best: Peak | undefined;
  let most = Number.NEGATIVE_INFINITY;
  for (const moment of moments) {
    let kept = 0;
    let loss = 0;
    moment.live.forEach((count, i) => {
      const need = needs.get(stages[i] as number) as StageNeed;
      kept += count * need.kept;
      loss += count * need.loss;
    });
    const need = needs.get(moment.stage) as StageNeed;
    const extra = moment.backward ? need.backward : need.forward;
    const total = kept + extra.total + named(moment.backward);
    if (total > most) {
      most = total;
      best = { moment, kept, loss, extra };
    }
  }
  return best as Peak;
}

export function hostActivations(
  moment: Moment,
  stages: readonly number[],
  needs: ReadonlyMap<number, StageNeed>,
): number {
  return moment.live.reduce(
    (sum, count, i) => sum + count * (needs.get(stages[i] as number) as StageNeed).host,
    0,
  );
}

export function finish(bytes: Bytes, host: number, moment: Moment, framework: number): RankMemory {
  const allocated = Object.values(bytes).reduce((sum, value) => sum + value, 0);
  const extra = fragmentation(bytes);
  return {
    bytes,
    allocated,
    fragmentation: extra,
    reserved: allocated + extra,
    framework,
    host,
    peak: { pass: moment.backward ? "backward" : "forward", stage: moment.stage, live: moment.live },
  };
}
