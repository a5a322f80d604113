import fc from "fast-check";
import { expect, test } from "vitest";
import {
  EMPTY,
  type Finding,
  type KnownMessage,
  recipeSchema,
  reduce,
  type RunState,
  type Signal,
} from "../run/index.ts";
import { patience, secondsUntil, see, startWatch, type WatchState } from "./index.ts";

const policy = recipeSchema.shape.watch.parse({ restarts: 3 });
type Recorded = { readonly signal: Signal; readonly finding: Finding | null };

/** Plays signals as the controller does: findings go into the run's state before the next signal. */
class Night {
  state: WatchState = startWatch(policy);
  run: RunState = { ...EMPTY, run: "r", name: "n" };
  readonly recording: Recorded[] = [];
  t = 1000;

  say(signal: Signal extends infer S ? (S extends Signal ? Omit<S, "t"> : never) : never): Finding | null {
    const stamped = { t: this.t, ...signal } as Signal;
    const seen = see(this.state, stamped, this.run);
    this.state = seen.state;
    this.recording.push({ signal: stamped, finding: seen.finding });
    if (seen.finding) {
      const id = this.run.incidents.length + 1;
      this.run = reduce(this.run, {
        t: this.t,
        kind: "alarm",
        id,
        attempt: this.state.attempt,
        alarm: seen.finding.alarm,
      });
      this.run = reduce(this.run, { t: this.t, kind: "remedy", id, remedy: seen.finding.remedy });
    }
    return seen.finding;
  }
  begin(attempt = 1): void {
    this.say({ kind: "attempt", attempt, world: 2 });
  }
  step(rank: number, step: number, seconds = 1, loss = 2): Finding | null {
    return this.say({
      kind: "worker",
      message: message("step", rank, step, this.state.attempt, {
        loss,
        gradNorm: 1,
        learningRate: 1,
        tokens: 9,
        seconds,
        cursor: step,
      }),
    });
  }
  train(from: number, to: number, seconds = 1): void {
    for (let step = from; step <= to; step++) {
      this.t += seconds;
      this.step(0, step, seconds);
      this.step(1, step, seconds);
    }
  }
  exit(rank: number, code: number | null, signal: number | null = null): Finding | null {
    return this.say({ kind: "rankExit", attempt: this.state.attempt, rank, code, signal });
  }
  checkpoint(step: number, bytes = 1): void {
    this.run = reduce(this.run, {
      t: this.t,
      kind: "checkpoint",
      attempt: 1,
      step,
      path: "p",
      bytes,
      seconds: 1,
      stallSeconds: 0,
    });
  }
}

const message = (kind: string, rank: number, step: number, attempt: number, fields: object): KnownMessage =>
  ({ v: 1, kind, run: "r", rank, step, t: 0, attempt, ...fields }) as unknown as KnownMessage;

test("a crash restarts while checkpoints come, and ends the run when none comes", () => {
  const night = new Night();
  for (let i = 1; i <= 10; i++) {
    night.begin(i);
    night.train(i * 10, i * 10 + 2);
    expect(night.exit(1, null, 9)).toMatchObject({
      alarm: { rule: "rankCrash", rank: 1, evidence: { how: "SIGKILL" } },
      remedy: { do: "restart" },
    });
    night.checkpoint(i * 10);
  }
  for (let i = 0; i < 3; i++) expect(night.exit(0, 1)?.remedy.do).toBe("restart");
  const last = night.exit(0, 1);
  expect(last).toMatchObject({
    alarm: { evidence: { count: 3, how: "exit code 1" } },
    remedy: { do: "fail", verdict: "RUN_BUDGET" },
  });
});

test("time in which the controller itself did not run is no one's hang", () => {
  const night = new Night();
  night.begin();
  night.train(1, 20, 2);
  night.t += 15;
  expect(night.say({ kind: "tick" })).toBeNull();
  night.t += 60;
  expect(night.say({ kind: "woke", seconds: 60 })).toBeNull();
  expect(night.say({ kind: "tick" })).toBeNull();
  night.t += 2;
  expect(night.say({ kind: "tick" })?.alarm).toMatchObject({ rule: "hang", evidence: { seconds: "17.0" } });
});

test("a hang is called after the time learned from the steps, and the stopped process is named", () => {
  const night = new Night();
  night.begin();
  night.train(1, 20, 2);
  expect(patience(night.state)).toBe(16);
  night.t += 15;
  expect(night.say({ kind: "tick" })).toBeNull();
  night.say({
    kind: "processes",
    processes: [
      { rank: 0, state: "S", cpuSeconds: 5 },
      { rank: 1, state: "T", cpuSeconds: 4 },
    ],
  });
  night.t += 2;
  expect(night.say({ kind: "tick" })).toMatchObject({
    alarm: { rule: "hang", rank: 1, evidence: { limit: "16.0" } },
    remedy: { do: "restart" },
  });
  night.t += 100;
  expect(night.say({ kind: "tick" })).toBeNull();
});

test("silence before the first step has its own limit; idle time has none", () => {
  const night = new Night();
  night.t += 10_000;
  expect(night.say({ kind: "tick" })).toBeNull();
  night.begin();
  night.t += 599;
  expect(night.say({ kind: "tick" })).toBeNull();
  night.t += 2;
  expect(night.say({ kind: "tick" })?.alarm.rule).toBe("hang");
});

test("steps of any speed never look like a hang while they come", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.01, max: 9.5, noNaN: true }), { minLength: 1, maxLength: 80 }),
      (durations) => {
        const night = new Night();
        night.begin();
        let step = 0;
        for (const seconds of durations) {
          for (let passed = 0; passed < seconds; passed += 0.25) {
            night.t += 0.25;
            expect(night.say({ kind: "tick" })).toBeNull();
          }
          night.step(0, ++step, seconds);
        }
      },
    ),
  );
});

test("not finite: once may pass, twice at one step is the end, elsewhere is another once", () => {
  const night = new Night();
  night.begin();
  night.step(0, 5, 1, Number.NaN);
  expect(night.exit(0, 40)).toMatchObject({
    alarm: { rule: "notFinite", step: 5 },
    remedy: { do: "restart" },
  });
  night.begin(2);
  night.step(0, 9, 1, Number.POSITIVE_INFINITY);
  expect(night.exit(0, 40)?.remedy.do).toBe("restart");
  night.begin(3);
  // As the engine tells it: no step, but last words that name it.
  night.say({
    kind: "worker",
    message: message("fatal", 0, 5, 3, { code: "ENGINE_NOT_FINITE", message: "step 5: loss nan" }),
  });
  expect(night.exit(0, 40)).toMatchObject({
    alarm: { step: 5, evidence: { numbers: "step 5: loss nan" } },
    remedy: { do: "fail", verdict: "RUN_NOT_FINITE" },
  });
});

test("environment and engine faults are not tried again", () => {
  const night = new Night();
  night.begin();
  expect(night.exit(1, 3)?.remedy).toEqual({ do: "fail", verdict: "RUN_ENVIRONMENT" });
  expect(night.say({ kind: "startFailed", agent: "0", why: "no torch" })?.remedy).toEqual({
    do: "fail",
    verdict: "RUN_ENGINE",
  });
});

test("a rank whose device has too little memory is told with both numbers and what would need less", () => {
  const night = new Night();
  night.begin();
  const facts = {
    needed: 6 * 1024 ** 3,
    free: 1024 ** 3,
    device: "cpu",
    lighter: "layout.recompute: full (900 MiB)",
  };
  night.say({
    kind: "worker",
    message: message("fatal", 2, 0, 1, { code: "ENGINE_MEMORY", message: "rank 2 needs", ...facts }),
  });
  expect(night.exit(2, 3)).toMatchObject({
    alarm: {
      code: "RUN_MEMORY",
      rank: 2,
      evidence: { needed: "6.00 GiB", free: "1.00 GiB", device: "cpu", lighter: facts.lighter },
    },
    remedy: { do: "fail", verdict: "RUN_MEMORY" },
  });
});

const GIB = 1024 ** 3;
const disk = (night: Night, freeBytes: number) =>
  night.say({ kind: "disk", freeBytes, totalBytes: 100 * GIB });

test("a disk that fills is pruned ahead of time, then the run saves and stops, or fails when not even that fits", () => {
  const night = new Night();
  night.begin();
  night.checkpoint(10, GIB);
  const found: (Finding | null)[] = [];
  for (let i = 0; i < 60; i++) {
    night.t += 2;
    found.push(disk(night, 20 * GIB - i * 0.31 * GIB));
  }
  const findings = found.filter((one) => one !== null);
  expect(findings.map((one) => one.remedy.do)).toEqual(["prune", "stop"]);
  expect(found.indexOf(findings[0] as Finding)).toBeLessThan(15);
  const full = new Night();
  full.begin();
  full.checkpoint(10, GIB);
  expect(disk(full, GIB)?.remedy.do).toBe("prune");
  full.t += 4;
  expect(disk(full, GIB)?.remedy).toEqual({ do: "fail", verdict: "RUN_DISK_FULL" });
});

test("the forecast is the straight line through the points", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 100_000, max: 10_000_000 }),
      (slope, start) => {
        const points = Array.from({ length: 30 }, (_, i) => ({ t: i, freeBytes: start - slope * i }));
        const left = secondsUntil({ ...startWatch(policy), disk: points }, 1000);
        expect(left).toBeCloseTo((start - slope * 29 - 1000) / slope, 3);
      },
    ),
  );
  const steady = Array.from({ length: 30 }, (_, i) => ({ t: i, freeBytes: 5 + (i % 2) }));
  expect(
    secondsUntil({ ...startWatch(policy), disk: [...steady].map((one) => ({ ...one, freeBytes: 5 })) }, 1),
  ).toBeNull();
});

test("a recorded night replays to the same verdicts", () => {
  const part = fc.oneof(
    fc.record({ do: fc.constant("train"), n: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ do: fc.constant("exit"), n: fc.constantFrom(1, 3, 40, 9) }),
    fc.record({ do: fc.constant("wait"), n: fc.integer({ min: 1, max: 700 }) }),
    fc.record({ do: fc.constant("disk"), n: fc.nat(4) }),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 30 }), (parts) => {
      const night = new Night();
      let step = 0;
      for (const [i, { do: what, n }] of parts.entries()) {
        if (!night.state.working) night.begin(i + 1);
        if (what === "train") night.train(step + 1, (step += n));
        else if (what === "exit") night.exit(0, n === 9 ? null : n, n === 9 ? 9 : null);
        else if (what === "disk") disk(night, n * GIB);
        else {
          night.t += n;
          night.say({ kind: "tick" });
        }
      }
      const recording = JSON.parse(JSON.stringify(night.recording)) as Recorded[];
      let state = startWatch(policy);
      let run: RunState = { ...EMPTY, run: "r", name: "n" };
      for (const { signal, finding } of recording) {
        const seen = see(state, signal, run);
        expect(JSON.parse(JSON.stringify(seen.finding))).toEqual(finding);
        state = seen.state;
        if (!seen.finding) continue;
        const id = run.incidents.length + 1;
        run = reduce(run, {
          t: signal.t,
          kind: "alarm",
          id,
          attempt: state.attempt,
          alarm: seen.finding.alarm,
        });
        run = reduce(run, { t: signal.t, kind: "remedy", id, remedy: seen.finding.remedy });
      }
      const restarts = run.incidents.filter((one) => one.remedy?.do === "restart");
      expect(restarts.length).toBeLessThanOrEqual(policy.restarts);
    }),
  );
});
