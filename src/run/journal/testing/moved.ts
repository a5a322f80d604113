import type { JournalEvent } from "../events.ts";

export const LINE = { en: "move 4 experts <here>", zh: "搬動 4 個專家" };

/** A run that moved experts once, from the decision to what it brought. */
export const MOVED: readonly JournalEvent[] = [
  {
    t: 1,
    kind: "balance",
    id: 1,
    attempt: 1,
    step: 20,
    action: "act",
    why: "time",
    line: LINE,
    forecast: { savedSecondsPerStep: 0.5, moveSeconds: 1, paybackSteps: 2, bytes: 4000, experts: 4 },
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
