import type { Text } from "../../base/index.ts";
import type { Schedule } from "../layout.ts";

/**
 * The order in which every pipeline rank runs its passes, packed one pass to a 32-bit word so that a step of 100,000 passes is
 * one typed array. Orders depend only on (schedule, pp, vpp, micro-batches), never on times, so a search builds each once.
 *
 * Sources: 1F1B and interleaving, Narayanan et al. 2021 (arXiv:2104.04473); ZB-H1 and ZB-V, Qi et al. 2023 and 2024
 * (arXiv:2401.10241, 2405.15362); DualPipeV, the cut-in-half form of DeepSeek's DualPipe (arXiv:2412.19437).
 */
export const PASS = {
  forward: 0,
  /** Gradients of input and weights together. */
  backward: 1,
  backwardInput: 2,
  backwardWeight: 3,
  /** A forward that runs interwoven with the backward after it, so that each hides the other's communication. */
  forwardPaired: 4,
} as const;

export const packPass = (kind: number, stage: number, micro: number): number =>
  kind | (stage << 3) | (micro << 13);
export const passKind = (word: number): number => word & 7;
export const passStage = (word: number): number => (word >> 3) & 1023;
export const passMicro = (word: number): number => word >>> 13;

export type Order = {
  readonly schedule: Schedule;
  readonly pp: number;
  readonly stages: number;
  readonly micros: number;
  /** Passes of all ranks, one rank after the other; rank r owns [starts[r], starts[r + 1]). */
  readonly passes: Int32Array;
  readonly starts: Int32Array;
};

/** Virtual stages on each rank: V schedules always fold the pipeline once. */
export const chunksOf = (schedule: Schedule, vpp: number): number =>
  schedule === "zbv" || schedule === "dualpipev" ? 2 : schedule === "interleaved1f1b" ? vpp : 1;

/** Why a schedule cannot run with these counts; undefined when it can. */
export function scheduleProblem(
  schedule: Schedule,
  pp: number,
  vpp: number,
  micros: number,
): Text | undefined {
  if (pp === 1 && vpp === 1) return undefined;
  const say = (en: string, zh: string): Text => ({ en: `${schedule} ${en}`, zh: `${schedule} ${zh}` });
  const few = (least: number) =>
    micros >= least
      ? undefined
      : say(
          `needs at least ${least} micro-batches, not ${micros}`,
          `至少需要 ${least} 個微批次，而非 ${micros}`,
        );
  switch (schedule) {
    case "interleaved1f1b":
      if (vpp < 2) return say("needs at least 2 virtual stages a rank", "每個進程至少需要 2 個虛擬階段");
      if (pp < 2) return say("needs at least 2 pipeline ranks", "至少需要 2 個流水線進程");
      return micros % pp === 0
        ? undefined
        : say(
            `needs micro-batches (${micros}) in multiples of pp (${pp})`,
            `的微批次數（${micros}）須為 pp（${pp}）的倍數`,
          );
    case "zbv":
    case "dualpipev":
      if (vpp !== 2) return say("folds the pipeline once: vpp must be 2", "將流水線對折一次：vpp 須為 2");
      return few(schedule === "zbv" ? 2 * pp - 1 : 2 * pp);
    case "gpipe":
    case "1f1b":
    case "zbh1":
      return vpp === 1
        ? undefined
        : say("runs one stage a rank: vpp must be 1", "每個進程只有一個階段：vpp 須為 1");
    default:
      return schedule satisfies never;
  }
}

/** @throws RangeError where `scheduleProblem` names a problem */
export function buildOrder(schedule: Schedule, pp: number, vpp: number, micros: number): Order {
  const problem = scheduleProblem(schedule, pp, vpp, micros);
  if (problem !== undefined) throw new RangeError(problem.en);
  const chunks = pp === 1 && vpp === 1 ? 1 : chunksOf(schedule, vpp);
  const perRank = micros * chunks * 3;
  const passes = new Int32Array(pp * perRank);
  const starts = new Int32Array(pp + 1);
  const out = new Writer(passes);
  for (let rank = 0; rank < pp; rank++) {
    if (schedule === "interleaved1f1b" && pp > 1) interleaved(out, pp, chunks, micros, rank);
    else if (schedule === "zbh1") zeroBubbleH1(out, pp, micros, rank);
    else if (schedule === "zbv" && chunks === 2) zeroBubbleV(out, pp, micros, rank);
    else if (schedule === "dualpipev" && chunks === 2) dualPipeV(out, pp, micros, rank);
    else oneForwardOneBackward(out, schedule === "gpipe" ? micros : pp - rank - 1, micros, rank);
    starts[rank + 1] = out.length;
  }
  return { schedule, pp, stages: pp * chunks, micros, passes: passes.subarray(0, out.length), starts };
}

class Writer {
  length = 0;
  readonly #to: Int32Array;
  constructor(to: Int32Array) {
    this.#to = to;
  }
  add(kind: number, stage: number, micro: number): void {
    this.#to[this.length++] = packPass(kind, stage, micro);
  }
}

function oneForwardOneBackward(out: Writer, warmup: number, micros: number, rank: number): void {
  const ahead = Math.min(warmup, micros);
  for (let f = 0; f < ahead; f++) out.add(PASS.forward, rank, f);
  for (let b = 0; b < micros; b++) {
    if (ahead + b < micros) out.add(PASS.forward, rank, ahead + b);
    out.add(PASS.backward, rank, b);
  }
}

function interleaved(out: Writer, pp: number, chunks: number, micros: number, rank: number): void {
  const total = micros * chunks;
  // Micro-batches go through in groups of pp: a group visits chunk 0, then chunk 1, ...; backward visits them in reverse.
  const visit = (k: number, backward: boolean) => {
    const group = Math.floor(k / (pp * chunks));
    const inGroup = k % (pp * chunks);
    const turn = Math.floor(inGroup / pp);
    const chunk = backward ? chunks - 1 - turn : turn;
    out.add(backward ? PASS.backward : PASS.forward, chunk * pp + rank, group * pp + (inGroup % pp));
  };
  const ahead = micros === pp ? total : Math.min(total, (pp - rank - 1) * 2 + (chunks - 1) * pp);
  for (let k = 0; k < ahead; k++) visit(k, false);
  for (let k = 0; k < total; k++) {
    if (ahead + k < total) visit(ahead + k, false);
    visit(k, true);
  }
}

function zeroBubbleH1(out: Writer, pp: number, micros: number, rank: number): void {
  const ahead = Math.min(pp - rank - 1, micros);
  let weight = 0;
  for (let f = 0; f < ahead; f++) out.add(PASS.forward, rank, f);
  for (let b = 0; b < micros; b++) {
    if (ahead + b < micros) out.add(PASS.forward, rank, ahead + b);
    out.add(PASS.backwardInput, rank, b);
    // Holding back as many weight gradients as the rank's place keeps every rank at pp micro-batches in flight.
    if (b >= rank) out.add(PASS.backwardWeight, rank, weight++);
  }
  while (weight < micros) out.add(PASS.backwardWeight, rank, weight++);
}

function zeroBubbleV(out: Writer, pp: number, micros: number, rank: number): void {
  const down = rank;
  const up = 2 * pp - 1 - rank;
  let [f0, f1, b0, b1] = [0, 0, 0, 0];
  const add = (kind: number, stage: number, micro: number) => {
    if (micro < micros) out.add(kind, stage, micro);
  };
  const forward = (stage: number) => add(PASS.forward, stage, stage === down ? f0++ : f1++);
  const both = (stage: number) => {
    const micro = stage === down ? b0++ : b1++;
    add(PASS.backwardInput, stage, micro);
    add(PASS.backwardWeight, stage, micro);
  };
  for (let i = 0; i < 2 * (pp - rank) - 1; i++) forward(down);
  for (let i = 0; i < rank; i++) {
    forward(up);
    forward(down);
  }
  for (let i = 0; i < pp - rank; i++) {
    forward(up);
    both(up);
  }
  while (f1 < f0 || f0 < micros) {
    if (f0 < micros) forward(down);
    both(down);
    forward(up);
    both(up);
  }
  let [w0, w1] = [b0, b1];
  for (let i = 0; i < rank; i++) {
    add(PASS.backwardInput, down, b0++);
    add(PASS.backwardInput, up, b1++);
  }
  for (let i = 0; i < pp - rank; i++) {
    add(PASS.backwardInput, down, b0++);
    add(PASS.backwardWeight, down, w0++);
  }
  while (w1 < b1) add(PASS.backwardWeight, up, w1++);
  while (w0 < b0) add(PASS.backwardWeight, down, w0++);
}

function dualPipeV(out: Writer, pp: number, micros: number, rank: number): void {
  const down = rank;
  const up = 2 * pp - 1 - rank;
  let [f0, f1, b0, b1] = [0, 0, 0, 0];
  /** Backward passes whose weight part was put off, oldest first. */
  const late: [number, number][] = [];
  let paid = 0;
  const forward = (stage: number, paired = false) =>
    out.add(paired ? PASS.forwardPaired : PASS.forward, stage, stage === down ? f0++ : f1++);
  const backward = (stage: number, split: boolean) => {
    const micro = stage === down ? b0++ : b1++;
    out.add(split ? PASS.backwardInput : PASS.backward, stage, micro);
    if (split) late.push([stage, micro]);
  };
  const weight = () => {
    const next = late[paid++];
    if (next) out.add(PASS.backwardWeight, next[0], next[1]);
  };
  const pair = (f: number, b: number) => {
    forward(f, true);
    backward(b, false);
  };
  const after = pp - rank - 1;
  for (let i = 0; i < after * 2; i++) forward(down);
  for (let i = 0; i < rank + 1; i++) {
    forward(down);
    forward(up);
  }
  for (let i = 0; i < after; i++) {
    backward(up, true);
    weight();
    forward(up);
  }
  for (let i = 0; i < micros - 2 * pp + rank + 1; i++) {
    // The last rank owns both ends of the fold: its own forward feeds the backward at once, so it cannot run beside it.
    if (i === 0 && after === 0) {
      forward(down);
      backward(up, false);
    } else pair(down, up);
    pair(up, down);
  }
  for (let i = 0; i < after; i++) {
    backward(up, false);
    pair(up, down);
  }
  for (let i = 0; i < rank + 1; i++) {
    // Half of the drain puts weight gradients off, which lets earlier ranks start their last backwards sooner.
    const split = i * 2 >= rank + 1;
    backward(up, split);
    backward(down, split || i * 2 + 1 >= rank + 1);
  }
  for (let i = 0; i < after; i++) {
    weight();
    backward(down, true);
  }
  while (paid < late.length) weight();
}
