/** A decision with its move and what came of it, and a digest of a step after it: what status and report are tested with. */
import type { JournalEvent } from "../../journal/index.ts";
import type { BalanceMessage } from "../../wire/index.ts";

export const LINE = { en: "move 4 experts <here>", zh: "搬動 4 個專家" };

/** Means over ranks: a tenth of the all-to-all is the rank's own rows, three tenths the node, none the network. */
const LINKS = {
  step: 51,
  allToAllSeconds: 0.2,
  seconds: { rank: 0.02, node: 0.06, network: 0 },
  bytes: { rank: 2 ** 30, node: 3 * 2 ** 20, network: 0 },
};

export const MOVED_ONCE: readonly JournalEvent[] = [
  {
    t: 1,
    kind: "balance",
    id: 1,
    attempt: 1,
    step: 20,
    action: "act",
    why: "time",
    line: LINE,
    forecast: {
      savedSecondsPerStep: 0.5,
      moveSeconds: 1,
      paybackSteps: 2,
      paybackRange: [1.5, 2.7],
      bytes: 4000,
      experts: 4,
    },
    cost: { secondsPerRow: 1e-6, bytesPerExpert: 1000, bytesPerSecond: 1e6, fixedSeconds: 0 },
    layers: [{ layer: 3, before: 1.5, after: 1.02, bound: 1.01, from: [0, 1], to: [1, 0] }],
  },
  { t: 2, kind: "relocated", id: 1, attempt: 1, step: 21, ok: true, why: null, seconds: 1.2, bytes: 4000 },
  {
    t: 3,
    kind: "balanceGain",
    id: 1,
    attempt: 1,
    step: 39,
    before: { stepSeconds: 2, slowest: 1.5 },
    after: { stepSeconds: 1.6, slowest: 1.03 },
    savedSecondsPerStep: 0.4,
    moveSeconds: 1.5,
    paybackSteps: 3.75,
  },
];

/** Layers 2 and 3 at `step`, after the move of step 21 or before it. */
export const digestAt = (step: number): BalanceMessage => ({
  v: 1,
  kind: "balance",
  run: "r",
  rank: -1,
  step,
  t: step,
  attempt: 1,
  layers: [2, 3],
  realised: step < 21 ? [1.1, 1.5] : [1.1, 1.03],
  bound: [1.05, 1.01],
  planned: step < 21 ? [null, null] : [null, 1.02],
  noiseFloor: [1, 1],
  maxVio: [0.4, 0.9],
  cv: [0.3, 0.2],
  entropy: [0.9, 0.95],
  deadExperts: [1, 2],
  droppedRows: 0,
  allToAllSeconds: { least: 0.1, median: 0.125, most: 0.2, rank: 3 },
  sentRows: { rank: 50, node: 30, network: 20 },
  links: LINKS,
  line: LINE,
});
