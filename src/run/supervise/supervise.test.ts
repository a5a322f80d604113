import fc from "fast-check";
import { expect, test } from "vitest";
import { EMPTY, replay } from "../journal/index.ts";
import {
  type Act,
  type Finding,
  type Goal,
  type Input,
  type Signal,
  startSupervisor,
  supervise,
} from "./index.ts";
import type { KnownMessage } from "../wire/index.ts";
import { World } from "./simulation.ts";

const goal: Goal = {
  nodes: [
    { agent: "a", ranks: [0, 1] },
    { agent: "b", ranks: [2, 3] },
  ],
  steps: 12,
  stopSeconds: 60,
  killSeconds: 10,
  joinSeconds: 30,
};

/** The plainest watch: whatever happens, restart. */
function restartAlways(signal: Signal): Finding | null {
  if (signal.kind !== "rankExit" && signal.kind !== "agentLost") return null;
  const base = { rank: null, agent: null, step: null, evidence: {} };
  return signal.kind === "rankExit"
    ? { alarm: { ...base, rule: "rankCrash", code: "RUN_RANK_CRASH" }, remedy: { do: "restart" } }
    : { alarm: { ...base, rule: "agentLost", code: "RUN_AGENT_LOST" }, remedy: { do: "restart" } };
}

type Event =
  | { do: "deliver"; toAgents: boolean }
  | { do: "train" }
  | { do: "tick" }
  | { do: "killRank"; rank: number }
  | { do: "killAgent"; agent: string }
  | { do: "killController"; acts: number }
  | { do: "cut"; agent: string }
  | { do: "start" };

const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant("deliver" as const), toAgents: fc.boolean() }) },
  { weight: 5, arbitrary: fc.constant({ do: "train" as const }) },
  { weight: 2, arbitrary: fc.constant({ do: "tick" as const }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("killRank" as const), rank: fc.nat(3) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("killAgent" as const), agent: fc.constantFrom("a", "b") }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("killController" as const), acts: fc.nat(6) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("cut" as const), agent: fc.constantFrom("a", "b") }),
  },
  { weight: 3, arbitrary: fc.constant({ do: "start" as const }) },
);

function play(world: World, one: Event): void {
  if (one.do === "deliver") world.deliver(one.toAgents);
  else if (one.do === "train") world.train();
  else if (one.do === "tick") world.tick(0.5);
  else if (one.do === "killRank") world.killRank(one.rank);
  else if (one.do === "killAgent") world.killAgent(one.agent);
  else if (one.do === "cut") world.cut(one.agent);
  else if (one.do === "killController") world.killController(one.acts);
  else if (!world.finished) world.startController();
}

/** Faults are over: everything is delivered, ranks train, and a dead controller is started again. */
function calm(world: World): void {
  for (let round = 0; round < 4000 && !world.finished; round++) {
    world.startController();
    world.deliver(true);
    world.deliver(false);
    if (round % 5 === 0) world.train();
    // Slow enough that deadlines only strike when something is really stuck.
    world.tick(0.02);
  }
}

test("whatever is killed whenever, attempts never overlap, no act is doubled, and the run comes to its end", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 150 }), (events) => {
      const world = new World({ goal, decide: restartAlways });
      world.startController();
      for (const one of events) play(world, one);
      calm(world);
      expect(world.faults).toEqual([]);
      const pairs = world.spawns.map((one) => `${one.agent}/${one.attempt}`);
      expect(new Set(pairs).size).toBe(pairs.length);
      const attempts = world.journal.flatMap((one) => (one.kind === "attempt" ? [one.attempt] : []));
      expect(attempts).toEqual(attempts.map((_, i) => i + 1));
      expect(world.finished).toMatchObject({ outcome: "done" });
      expect(world.checkpoint).toBe(goal.steps);
      expect(replay(world.journal)).toEqual(world.run);
    }),
    { numRuns: 250 },
  );
});

test("an order or its answer that a broken connection lost is given again, at once and without a restart", () => {
  for (const lost of ["master", "answer", "spawn"]) {
    const world = new World({ goal, decide: restartAlways });
    world.startController();
    // Both agents join; then the first is asked for a port, answers, and both are told to spawn.
    for (let i = 0; i < 4; i++) world.deliver(false);
    if (lost !== "master") world.deliver(true);
    if (lost === "spawn") world.deliver(false);
    expect(world.run.attempt).toBe(1);
    expect(world.spawns).toEqual([]);
    for (const { agent } of goal.nodes) world.cut(agent);
    for (let i = 0; i < 40 && !world.finished; i++) {
      world.deliver(true);
      world.deliver(false);
      world.train();
    }
    expect(world.finished).toMatchObject({ outcome: "done" });
    expect(world.run).toMatchObject({ attempt: 1, incidents: [] });
    expect(world.spawns).toEqual(goal.nodes.map(({ agent }) => ({ agent, attempt: 1 })));
  }
});

const outcomeOf = (world: World): string | undefined => world.finished?.outcome;

test("a stop at any moment ends as stopped or, if it came too late, as done; no rank is left", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), fc.boolean(), (events, now) => {
      const world = new World({ goal, decide: restartAlways });
      world.startController();
      for (const one of events) play(world, one);
      if (world.finished) return;
      world.startController();
      world.stop(now);
      for (let round = 0; round < 2000 && !world.finished && world.up; round++) {
        world.deliver(true);
        world.deliver(false);
        world.tick(0.05);
      }
      // A fuse from before may still end the controller; then nobody is there to judge.
      const outcome = outcomeOf(world);
      if (!outcome) return;
      expect(["stopped", "done"]).toContain(outcome);
      expect(world.agents.size).toBe(0);
    }),
    { numRuns: 300 },
  );
});

test("agents that do not join are given up, and the run fails when the watch says so", () => {
  const world = new World({
    goal,
    decide: (signal, run) => {
      const finding = restartAlways(signal);
      const spent = run.incidents.length;
      return finding && spent >= 2 ? { ...finding, remedy: { do: "fail", verdict: "RUN_BUDGET" } } : finding;
    },
  });
  world.startController();
  for (let i = 0; i < 400 && !world.finished; i++) {
    // Messages to the agents get lost.
    world.deliver(false);
    world.tick(1);
  }
  expect(world.finished).toMatchObject({ outcome: "failed", verdict: { code: "RUN_BUDGET" } });
});

type ToldInput = { kind: string; t?: number } & Record<string, unknown>;

/** What a supervisor does whose agents join, so that attempt 1 trains, and who then hears what is told. */
function actsOf(told: readonly ToldInput[], run = EMPTY, reached = 0): Act[] {
  const beginning = [
    { kind: "begin" },
    ...goal.nodes.map(({ agent }) => ({
      kind: "joined",
      agent,
      instance: 1,
      pid: 1,
      host: "h",
      attempt: 0,
      ranks: [],
      zygote: true,
    })),
    { kind: "master", attempt: 1, host: "h", port: 1 },
  ];
  let state = startSupervisor(goal, run, 0, reached);
  const acts: Act[] = [];
  for (const input of [...beginning, ...told]) {
    const move = supervise(state, { t: 0, attempt: 1, ...input } as unknown as Input);
    state = move.state;
    acts.push(...move.acts);
  }
  return acts;
}

/** Whose end counts as the cause, in the order of the telling. */
const causes = (...told: readonly ToldInput[]): (number | string)[] =>
  actsOf(told)
    .flatMap((act) => (act.do === "report" ? [act.signal] : []))
    .flatMap((one): (number | string)[] =>
      one.kind === "rankExit" ? [one.rank] : one.kind === "agentLost" ? [one.agent] : [],
    );

const ends = (rank: number, code: number | null = 1, t = 0) => ({
  kind: "exited",
  rank,
  code,
  signal: code === null ? 9 : null,
  t,
});
const blames = (rank: number) => ({
  kind: "worker",
  message: { kind: "fatal", attempt: 1, rank, code: "ENGINE_PEER_LOST" } as unknown as KnownMessage,
});
const tick = (t: number) => ({ kind: "tick", t });

test("the rank whose end brought the others about is the cause, also when word of theirs comes first", () => {
  expect(causes(ends(3, null), blames(0), ends(0), ends(1))).toEqual([3]);
  expect(causes(blames(0), ends(0), blames(1), ends(1), ends(3, null), ends(2))).toEqual([3]);
  expect(causes(blames(0), ends(0), ends(3, 3), ends(1))).toEqual([3]);
  // An agent that went down with its ranks tells of none of them.
  expect(causes(blames(0), ends(0), { kind: "agentLost", agent: "b", instance: 1, why: "gone" })).toEqual([
    "b",
  ]);
});

test("where all blame another or nobody else ends, the first that ended is the cause", () => {
  const everyone = [2, 0, 1, 3].flatMap((rank) => [blames(rank), ends(rank)]);
  expect(causes(...everyone)).toEqual([2]);
  expect(causes(blames(1), ends(1), tick(2), blames(0), ends(0, 1, 2))).toEqual([]);
  expect(causes(blames(1), ends(1), blames(0), ends(0, 1, 2), tick(3.5))).toEqual([1]);
  expect(causes(blames(1), ends(1), ends(0, 0), ends(2, 0), ends(3, 0))).toEqual([1]);
});

test("steps that are done again are counted from how far the run had come, also by a controller that did not see it", () => {
  const alarm = { rule: "rankCrash", code: "RUN_RANK_CRASH", evidence: {} } as unknown as Finding["alarm"];
  const open = { id: 1, t: 0, alarm, remedy: { do: "restart" as const }, recovered: null };
  const run = { ...EMPTY, incidents: [open] } as unknown as typeof EMPTY;
  const step = { kind: "worker", message: { kind: "step", attempt: 1, rank: 0, step: 17, t: 5 } };
  const [recovered] = actsOf([step], run, 32).flatMap((act) =>
    act.do === "journal" && act.event.kind === "recovered" ? [act.event] : [],
  );
  expect(recovered).toMatchObject({ id: 1, step: 17, redone: 16 });
});
