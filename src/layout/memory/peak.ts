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
  needs: readonly StageNeed[],
  named: (backward: boolean) => number,
): Peak {
  let best: Peak | undefined;
  let most = Number.NEGATIVE_INFINITY;
  const own = stages.map((stage) => needs[stage] as StageNeed);
  const names = [named(false), named(true)] as const;
  for (const moment of moments) {
    let kept = 0;
    let loss = 0;
    const { live, backward } = moment;
    for (let i = 0; i < own.length; i++) {
      kept += (live[i] as number) * (own[i] as StageNeed).kept;
      loss += (live[i] as number) * (own[i] as StageNeed).loss;
    }
    const need = needs[moment.stage] as StageNeed;
    const extra = backward ? need.backward : need.forward;
    const total = kept + extra.total + names[backward ? 1 : 0];
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
  needs: readonly StageNeed[],
): number {
  return moment.live.reduce(
    (sum, count, i) => sum + count * (needs[stages[i] as number] as StageNeed).host,
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
