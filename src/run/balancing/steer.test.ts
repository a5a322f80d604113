import fc from "fast-check";
import { expect, test } from "vitest";
import { DecisionThread } from "./decider.ts";
import { Late, POLICY, TOPOLOGY, World } from "./testing/world.ts";

/** The first rank holds the experts that everyone wants. */
const SKEWED = [
  [400, 380, 360, 340, 20, 30, 40, 50],
  [300, 310, 320, 330, 60, 50, 40, 30],
];
const EVEN = [
  [200, 210, 190, 200, 200, 190, 210, 200],
  [200, 190, 210, 200, 200, 210, 190, 200],
];

const events = <K extends World["journal"][number]["kind"]>(world: World, kind: K) =>
  world.journal.filter(
    (event): event is Extract<World["journal"][number], { kind: K }> => event.kind === kind,
  );

test("a skewed run moves once, and what came is what was forecast", () => {
  const world = new World(SKEWED);
  world.settle(40);
  const [decision] = events(world, "balance");
  expect(decision).toMatchObject({ action: "act", why: "time", step: 8 });
  expect(decision?.line.en).toMatch(/^move \d experts in 2 of 2 layers/);
  expect(decision?.line.zh).toMatch(/^搬動 2\/2 層/);
  expect(decision?.cost.secondsPerRow).toBeCloseTo(0.001, 9);
  expect(decision?.layers.map((one) => one.from)).toEqual(SKEWED.map(() => [0, 1, 2, 3, 4, 5, 6, 7]));
  expect(events(world, "relocated")).toMatchObject([{ ok: true, bytes: 8000, seconds: 0.2 }]);
  const [gain] = events(world, "balanceGain");
  const forecast = decision?.forecast.savedSecondsPerStep ?? 0;
  expect(forecast).toBeGreaterThan(0.5);
  expect(Math.abs((gain?.savedSecondsPerStep ?? 0) / forecast - 1)).toBeLessThan(0.05);
  expect(gain?.paybackSteps).toBeCloseTo((gain?.moveSeconds ?? 0) / (gain?.savedSecondsPerStep ?? 1), 9);
  expect(gain?.moveSeconds).toBeCloseTo(0.2, 1);
  expect(gain?.after.slowest).toBeLessThan(1.05);
  expect(world.sent).toEqual(["balance-1"]);
  // The digest beside the telemetry: as promised, as it is, and what is possible.
  const last = world.notes.at(-1) as {
    realised: number[];
    planned: number[];
    bound: number[];
    deadExperts: number[];
  };
  for (const l of [0, 1]) {
    expect(last.realised[l]).toBeLessThan(1.05);
    expect(last.planned[l]).toBeCloseTo(decision?.layers[l]?.after ?? 0, 4);
    expect(last.bound[l]).toBeLessThanOrEqual((last.realised[l] ?? 0) + 1e-4);
  }
  expect(last.deadExperts).toEqual([0, 0]);
});

test("an attempt that heals is not held up by a rehearsal: it comes some steps later, before the first decision", () => {
  const world = new World(SKEWED, 1);
  world.settle(3);
  expect(world.rehearsals).toBe(0);
  world.settle(4);
  expect(world.rehearsals).toBe(1);
  world.restart();
  world.settle(3);
  expect(world.rehearsals).toBe(1);
  world.settle(4);
  expect(world.rehearsals).toBe(2);
});

test("a rehearsal says what the first move will take, and each move corrects it", () => {
  const world = new World(SKEWED);
  // Twice what the rehearsal says.
  world.moveSeconds = 0.4;
  world.settle(40);
  expect(world.rehearsals).toBe(1);
  const [first] = events(world, "balance");
  // Two layers, and the busiest rank sends two experts of each: 0.15 s by the rehearsal for one, so 0.05 + 0.05 + 4 x 0.025.
  const took = 0.2;
  expect(first?.forecast.moveSeconds).toBeCloseTo(took, 2);
  const [low, high] = first?.forecast.paybackRange ?? [0, 0];
  expect(low).toBeLessThanOrEqual(first?.forecast.paybackSteps ?? 0);
  expect(high).toBeGreaterThanOrEqual(first?.forecast.paybackSteps ?? 0);
  // Those that stand on the first rank now become the wanted ones.
  world.shares = [1, 2].map((layer) => {
    const wanted = (world.placement[String(layer)] as number[]).slice(0, 4);
    return Array.from({ length: 8 }, (_, e) => (wanted.includes(e) ? 350 : 40));
  });
  world.settle(60);
  const second = events(world, "balance").filter((event) => event.action === "act")[1];
  const { fixedSeconds = 0, layerSeconds = 0, bytesPerSecond = 1 } = second?.cost ?? {};
  // Two samples now, the rehearsal and the move that took twice as long: their geometric mean.
  expect(fixedSeconds + 2 * layerSeconds + 4000 / bytesPerSecond).toBeCloseTo(took * Math.SQRT2, 2);
});

test("a gain that the noise of the steps hides over what is left of the run is left alone, unless any is wanted", () => {
  // The loads alone are worth a move: without noise it happens.
  const slight = SKEWED.map((row) => row.map((n) => 200 + (n - 200) / 6));
  const play = (noise: number, safety = POLICY.safety) => {
    const world = new World(slight, 1, { ...POLICY, safety });
    world.noise = noise;
    world.settle(60);
    return world;
  };
  expect(play(0).sent.length).toBeGreaterThan(0);
  const hidden = play(12);
  expect(hidden.sent).toEqual([]);
  expect(events(hidden, "balance")[0]?.line.en).toMatch(/noise of the steps hides/);
  expect(play(12, 0).sent.length).toBeGreaterThan(0);
});

test("a rank that is slower in all it does gets fewer tokens, and steps become as short as they can", () => {
  const world = new World(EVEN);
  world.slow = [1, 2];
  world.settle(60);
  const [decision] = events(world, "balance").filter((event) => event.action === "act");
  const [fast = 0, slow = 0] = decision?.cost.speeds ?? [];
  expect(fast / slow).toBeCloseTo(2, 1);
  const rowsOf = (rank: number) =>
    [1, 2].reduce(
      (sum, layer, l) =>
        sum +
        (world.placement[String(layer)] as number[])
          .slice(rank * 4, rank * 4 + 4)
          .reduce((part, e) => part + (EVEN[l]?.[e] ?? 0), 0),
      0,
    );
  // Four slots a rank: the best split gives the slow one the four least wanted of each layer.
  expect(rowsOf(1)).toBeLessThan(rowsOf(0));
  const least = [1, 2].reduce(
    (sum, _, l) =>
      sum +
      (EVEN[l] as number[])
        .toSorted((a, b) => a - b)
        .slice(0, 4)
        .reduce((s, n) => s + n, 0),
    0,
  );
  expect(rowsOf(1)).toBe(least);
  // A rank that only looks slow because it has more or fewer rows is not taken for slow.
  const alike = new World(SKEWED);
  alike.settle(60);
  expect(events(alike, "balance").every((event) => event.cost.speeds === undefined)).toBe(true);
});

test("nothing moves on a balanced run, or after the last step", () => {
  const world = new World(EVEN);
  world.settle(200);
  expect(world.sent).toEqual([]);
  expect(events(world, "balance").map((event) => event.action)).toEqual(["stay"]);
  const short = new World(SKEWED);
  short.step = 390;
  short.settle(10);
  expect(short.sent).toEqual([]);
});

test("a controller that comes back after long does not decide on what is long past", () => {
  const world = new World(SKEWED);
  for (let i = 0; i < 100; i++) world.train();
  world.settle(40);
  expect(events(world, "relocated")).toMatchObject([{ id: 1, ok: true }]);
  expect(events(world, "balance")[0]?.step).toBeGreaterThan(80);
});

test("advice is given once and nothing moves; off is silent", () => {
  const world = new World(SKEWED, 1, { ...POLICY, mode: "advise" });
  world.settle(60);
  expect(events(world, "balance").map((event) => event.action)).toEqual(["advise"]);
  expect(events(world, "balance")[0]?.line.en).toMatch(/^would move/);
  expect(world.sent).toEqual([]);
  const off = new World(SKEWED, 1, { ...POLICY, mode: "off" });
  off.settle(40);
  expect(off.journal).toEqual([]);
});

test("the memory guard moves before the budget is reached, and advises where a move is not enough", () => {
  // 2,510 rows at the busiest rank take 2.51 MB of the peak.
  const moving = new World(SKEWED, 1, { ...POLICY, memoryBytes: 10_000_000 }, 9_950_000);
  moving.settle(30);
  expect(events(moving, "memoryForecast")[0]).toMatchObject({ action: "act", budgetBytes: 10_000_000 });
  expect(events(moving, "balance")[0]).toMatchObject({ action: "act", why: "memory" });
  const tight = new World(EVEN, 1, { ...POLICY, memoryBytes: 10_000_000 }, 9_990_000);
  tight.settle(30);
  expect(events(tight, "memoryForecast")).toMatchObject([{ action: "advise" }]);
  expect(events(tight, "memoryForecast")[0]?.line.en).toMatch(
    /^the busiest rank may need 9\.\d\d MiB of 9\.54 MiB: halve the micro-batch \(\d+ ms a step\)$/,
  );
  const roomy = new World(SKEWED, 1, { ...POLICY, memoryBytes: 20_000_000 }, 9_000_000);
  roomy.settle(30);
  expect(events(roomy, "memoryForecast")).toEqual([]);
});

test("as loads drift towards one rank, the guard moves experts before its memory overflows", () => {
  const budget = 3_500_000;
  const drift = (mode: "on" | "off") => {
    // No move for time's sake, and noise of a few per cent in every count.
    const world = new World(EVEN, 5, { ...POLICY, mode, memoryBytes: budget, safety: 1e9 }, 1_000_000);
    world.rowBytes = TOPOLOGY.savedBytesPerRow;
    for (let step = 0; step < 120; step++) {
      const t = step / 120;
      world.shares = EVEN.map((row, l) =>
        row.map((n, e) => (1 - t) * n + t * ((SKEWED[l] as number[])[e] as number)),
      );
      world.settle(1);
    }
    return world;
  };
  expect(drift("off").peak).toBeGreaterThan(budget);
  const guarded = drift("on");
  expect(events(guarded, "balance").filter((event) => event.action === "act")[0]?.why).toBe("memory");
  expect(guarded.peak).toBeLessThanOrEqual(budget);
  // The peak that a rank tells stays that of the time before the move; the guard knows from how many rows it came.
  guarded.settle(150);
  expect(events(guarded, "memoryForecast").map((event) => event.action)).toEqual(["act", "none"]);
});

const chaos = fc.oneof(
  { weight: 10, arbitrary: fc.constant("train" as const) },
  { weight: 30, arbitrary: fc.constant("deliver" as const) },
  { weight: 2, arbitrary: fc.constant("save" as const) },
  { weight: 2, arbitrary: fc.constant("restart" as const) },
  { weight: 1, arbitrary: fc.constant("loseCommands" as const) },
  { weight: 3, arbitrary: fc.constant("startController" as const) },
  { weight: 4, arbitrary: fc.constant("answer" as const) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 3 }) },
);

test("whatever dies: written before told, told at most once, ended exactly once, and true", () => {
  fc.assert(
    fc.property(fc.array(chaos, { minLength: 50, maxLength: 600 }), fc.nat(), (happenings, seed) => {
      const late = new Late();
      const world = new World(SKEWED, seed, POLICY, 0, late);
      world.startController();
      for (const one of happenings) {
        if (typeof one === "number") world.killController(one);
        else if (one === "answer") late.answer();
        else world[one]();
      }
      world.settle(40, () => late.answer());
      expect(world.faults).toEqual([]);
      expect(new Set(world.sent).size).toBe(world.sent.length);
      const ids = events(world, "balance").flatMap((event) => (event.action === "act" ? [event.id] : []));
      const ends = events(world, "relocated");
      expect(ends.map((event) => event.id).sort((a, b) => a - b)).toEqual(ids.sort((a, b) => a - b));
      for (const end of ends) {
        const really = world.obeyed.some(
          (one) => one.id === `balance-${end.id}` && one.attempt === end.attempt,
        );
        if (end.ok) expect(really).toBe(true);
      }
      // In the end the run is balanced, whatever happened on the way.
      const last = world.notes.at(-1) as { realised: number[] };
      expect(Math.max(...last.realised)).toBeLessThan(1.06);
    }),
    { numRuns: 200 },
  );
});

test("an answer that comes late is taken up when it comes, if it is still about what is", () => {
  const late = new Late();
  const world = new World(SKEWED, 1, POLICY, 0, late);
  world.settle(10);
  expect(world.journal).toEqual([]);
  late.answer();
  world.tick();
  expect(events(world, "balance")).toMatchObject([{ action: "act", step: 10 }]);
  expect(world.sent).toEqual(["balance-1"]);

  const other = new World(SKEWED, 1, POLICY, 0, late);
  other.settle(10);
  other.restart();
  late.answer();
  other.tick();
  expect(other.journal).toEqual([]);

  // Steps of 2 to 3 seconds: by then telemetry is long past.
  const long = new World(SKEWED, 1, POLICY, 0, late);
  long.settle(20);
  late.answer();
  long.tick();
  expect(long.journal).toEqual([]);
  long.settle(8, () => late.answer());
  expect(events(long, "balance")).toMatchObject([{ action: "act", step: 24 }]);
});

const turn = () => new Promise((resolve) => setTimeout(resolve, 2));

/** As `settle`, with time for a thread to answer after every step. */
async function settleWith(world: World, thread: { waiting: number }, steps: number): Promise<void> {
  for (let i = 0; i < steps; i++) {
    world.settle(1);
    while (thread.waiting > 0) await turn();
    world.tick();
  }
}

/** A real thread that tells when it has answered. */
class Watched extends DecisionThread {
  waiting = 0;
  override ask: DecisionThread["ask"] = (question, answered) => {
    this.waiting++;
    super.ask(question, (found) => {
      this.waiting--;
      answered(found);
    });
  };
}

test("a thread decides what is decided in place", { timeout: 60_000 }, async () => {
  const place = new World(SKEWED, 3, { ...POLICY, memoryBytes: 10_000_000 }, 9_950_000);
  for (let i = 0; i < 60; i++) place.settle(1);
  const thread = new Watched();
  const world = new World(SKEWED, 3, { ...POLICY, memoryBytes: 10_000_000 }, 9_950_000, thread);
  await settleWith(world, thread, 60);
  thread.close();
  expect(events(world, "balance").length).toBeGreaterThan(0);
  expect(world.journal).toEqual(place.journal);
});

test("a thread that dies is told of once, and training goes on where experts stand", {
  timeout: 60_000,
}, async () => {
  const thread = new Watched(new URL("data:text/javascript,setTimeout(()=>{throw new Error('broken')},1)"));
  const world = new World(SKEWED, 1, POLICY, 0, thread);
  await settleWith(world, thread, 40);
  expect(events(world, "balanceLost")).toMatchObject([
    { step: 8, verdict: { code: "RUN_BALANCING_LOST", params: { why: "broken" } } },
  ]);
  expect(world.journal).toHaveLength(1);
  expect(world.sent).toEqual([]);
  expect(world.notes.at(-1)).toMatchObject({ step: 40, line: { zh: expect.stringContaining("（broken）") } });
});

test("the same signals give the same journal", () => {
  const play = () => {
    const world = new World(SKEWED, 7);
    world.settle(30);
    world.restart();
    world.settle(30);
    return world.journal;
  };
  expect(play()).toEqual(play());
});
