import type { Layout } from "../layout.ts";
import { stageHomes, type StepTime, type TimeModel } from "../time/index.ts";
import { fits, type Found, type SearchRequest } from "./found.ts";

/** Rounds of one-layer moves; each makes the step faster, so that few are ever needed. */
const ROUNDS = 12;

/**
 * A found layout with layers moved between neighbouring stages for as long as the step itself gets faster and all of it fits. Where
 * devices differ, the balance by the slowest stage is not the last word: who waits for whom at both ends of the pipeline counts too.
 */
export function shifted(found: Found, request: SearchRequest, time: TimeModel): Found {
  const { model, cluster, constraints, margin, memory } = request;
  const homes = stageHomes(cluster, found.layout);
  let best = found;
  for (let round = 0; round < ROUNDS; round++) {
    let next: { layout: Layout; time: StepTime } | undefined;
    for (const stages of moves(best.layout.stages)) {
      const layout = { ...best.layout, stages };
      const step = time.step(layout);
      if (step.seconds < (next?.time ?? best.time).seconds * (1 - 1e-9)) next = { layout, time: step };
    }
    if (!next) break;
    const report = memory(model, next.layout, found.training, constraints.engine, homes, time.stages.traits);
    const { short, free } = fits(report, next.layout, homes, margin);
    if (short > 0) break;
    best = { ...best, ...next, memory: report, free };
  }
  return best;
}

/** Every split that differs by one layer handed to a neighbour; no stage is left empty. */
function* moves(stages: Layout["stages"]): Generator<number[][]> {
  for (let s = 0; s + 1 < stages.length; s++) {
    const [here, there] = [stages[s] as readonly number[], stages[s + 1] as readonly number[]];
    const put = (first: readonly number[], second: readonly number[]) =>
      stages.map((layers, i) => [...(i === s ? first : i === s + 1 ? second : layers)]);
    if (here.length > 1) yield put(here.slice(0, -1), [here.at(-1) as number, ...there]);
    if (there.length > 1) yield put([...here, there[0] as number], there.slice(1));
  }
}
