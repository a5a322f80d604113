/**
 * Which micro-batches a rank keeps, over the schedule's own order of passes.
 *
 * A rank's peak needs no clock: it is the largest sum over its passes, in order, of what is kept plus what the pass
 * itself needs. Orders repeat after warm-up, so few different moments exist; a moment that keeps no more than another
 * one during the same kind of pass can never be the peak and is dropped. What is left is computed once for each
 * (schedule, pp, vpp, micro-batches) and reused for every layout of a search.
 */
import type { Schedule } from "../layout.ts";
import { buildOrder, PASS, passKind, passStage } from "../schedule/index.ts";

export type Moment = {
  readonly backward: boolean;
  /** Virtual stage that runs. */
  readonly stage: number;
  /** Micro-batches kept by each virtual stage of this rank, the running one included; indexed like `RankMoments.stages`. */
  readonly live: readonly number[];
};

export type RankMoments = {
  /** Virtual stages of this rank. */
  readonly stages: readonly number[];
  readonly moments: readonly Moment[];
};

const known = new Map<string, readonly RankMoments[]>();

/** Candidate peaks of every pipeline rank. */
export function rankMoments(
  schedule: Schedule,
  pp: number,
  vpp: number,
  micros: number,
): readonly RankMoments[] {
  // Beyond this many micro-batches every schedule but GPipe is in its steady state: more of them make no other moment.
  const enough = schedule === "gpipe" ? micros : Math.min(micros, 3 * pp);
  const count =
    schedule === "interleaved1f1b" ? Math.max(pp, Math.ceil(enough / pp) * pp) : Math.max(1, enough);
  const key = `${schedule}/${pp}/${vpp}/${Math.min(count, micros)}`;
  let found = known.get(key);
  if (!found) {
    found =
      pp === 1
        ? [alone(vpp, schedule === "gpipe" ? micros : 1)]
        : replay(schedule, pp, vpp, Math.min(count, micros));
    known.set(key, found);
  }
  return found;
}

/** One rank without a pipeline: a micro-batch goes forward and back before the next one. */
function alone(vpp: number, live: number): RankMoments {
  const stages = Array.from({ length: vpp }, (_, i) => i);
  const all = stages.map(() => live);
  const last = vpp - 1;
  return {
    stages,
    moments: [
      { backward: false, stage: last, live: all },
      { backward: true, stage: last, live: all },
    ],
  };
}

/** Candidate peaks of a pipeline's ranks, every pass looked at. */
export function replay(schedule: Schedule, pp: number, vpp: number, micros: number): RankMoments[] {
  const order = buildOrder(schedule, pp, vpp, micros);
  const out: RankMoments[] = [];
  for (let rank = 0; rank < pp; rank++) {
    const from = order.starts[rank] as number;
    const to = order.starts[rank + 1] as number;
    const place = new Int32Array(pp * vpp).fill(-1);
    for (let at = from; at < to; at++) place[passStage(order.passes[at] as number)] = 0;
    const stages = Array.from(place.keys()).filter((stage) => place[stage] === 0);
    for (const [i, stage] of stages.entries()) place[stage] = i;
    const live = stages.map(() => 0);
    const kept = new Map<string, Moment>();
    const note = (backward: boolean, stage: number) => {
      // Characters stand for numbers: hundreds of thousands of passes are looked at, and few moments are new.
      const key = String.fromCharCode(2 * stage + Number(backward), ...live);
      if (!kept.has(key)) kept.set(key, { backward, stage, live: [...live] });
    };
    for (let at = from; at < to; at++) {
      const word = order.passes[at] as number;
      const stage = passStage(word);
      const i = place[stage] as number;
      const kind = passKind(word);
      if (kind === PASS.forward || kind === PASS.forwardPaired) {
        live[i] = (live[i] as number) + 1;
        note(false, stage);
        continue;
      }
      note(true, stage);
      // With weight gradients put off, what they need (layer inputs, output gradients) stays until they run.
      if (kind === PASS.backward || kind === PASS.backwardWeight) live[i] = (live[i] as number) - 1;
    }
    out.push({ stages, moments: undominated([...kept.values()]) });
  }
  return out;
}

function undominated(moments: readonly Moment[]): Moment[] {
  const below = (a: Moment, b: Moment) =>
    a.backward === b.backward &&
    a.stage === b.stage &&
    a.live.every((count, i) => count <= (b.live[i] as number)) &&
    a.live.some((count, i) => count < (b.live[i] as number));
  return moments.filter((a) => !moments.some((b) => below(a, b)));
}
