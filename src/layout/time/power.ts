import type { PowerLimit } from "../../cluster/index.ts";
import { type Layout, stageRank } from "../layout.ts";
import type { StageHome } from "./devices.ts";
import type { StageTerms } from "./stages.ts";
import { ATTENTION, GROUPED, MATRIX, type Terms, total } from "./terms.ts";

/**
 * Matrix work at full pace draws more power than a device may: the clock falls until the mean over a few layers,
 * exchanges and element-wise code included, meets the limit. So the same product runs slower where little else is between, and a
 * short benchmark of one kernel promises more than a run gives. Power is taken as the square of the clock (between the
 * first power at constant voltage and the third where voltage follows).
 */
export function clockShare({ matrix, other }: PowerLimit, work: number, seconds: number): number {
  if (work <= 0) return 1;
  let clock = 1;
  // The slower clock lengthens the step, which lowers the mean again: a contraction that settles in a few rounds.
  for (let round = 0; round < 8; round++) {
    const busy = work / clock;
    const duty = Math.min(1, busy / (seconds + busy - work));
    clock = Math.min(1, Math.sqrt((1 - (1 - duty) * other) / (duty * matrix)));
  }
  return clock;
}

/** Terms of every stage at the clock its rank can hold through its passes. */
export function atSustainedClock(
  terms: readonly StageTerms[],
  layout: Layout,
  homes: readonly StageHome[],
): readonly StageTerms[] {
  if (homes.every(({ device }) => !device.efficiency.power)) return terms;
  const work = new Float64Array(layout.pp);
  const seconds = new Float64Array(layout.pp);
  terms.forEach((term, stage) => {
    const rank = stageRank(layout, stage);
    for (const part of [term.forward, term.backward, term.weight, term.recompute]) {
      work[rank] = (work[rank] as number) + matrixSeconds(part);
      seconds[rank] = (seconds[rank] as number) + total(part);
    }
  });
  return terms.map((term, stage) => {
    const rank = stageRank(layout, stage);
    const limit = (homes[rank] as StageHome).device.efficiency.power;
    if (!limit) return term;
    const slow = 1 / clockShare(limit, work[rank] as number, seconds[rank] as number);
    return {
      forward: slower(term.forward, slow),
      backward: slower(term.backward, slow),
      weight: slower(term.weight, slow),
      recompute: slower(term.recompute, slow),
    };
  });
}

const matrixSeconds = (terms: Terms): number =>
  (terms[MATRIX] as number) + (terms[GROUPED] as number) + (terms[ATTENTION] as number);

function slower(terms: Terms, by: number): Terms {
  const out = terms.slice();
  for (const index of [MATRIX, GROUPED, ATTENTION]) out[index] = (terms[index] as number) * by;
  return out;
}
