import fc from "fast-check";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { EMPTY, Journal, JOURNAL_FILE, type NewEvent, readJournal, reduce, replay } from "./index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tessera-journal-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const small = fc.nat(5);
const event: fc.Arbitrary<NewEvent> = fc.oneof(
  fc.record({ kind: fc.constant("controller" as const), epoch: small, pid: small, host: fc.string() }),
  fc.record({ kind: fc.constant("attempt" as const), attempt: small, world: small, fromStep: small }),
  fc.record({
    kind: fc.constant("alarm" as const),
    id: small,
    attempt: small,
    alarm: fc.record({
      rule: fc.constant("hang" as const),
      code: fc.constant("RUN_HANG"),
      rank: small,
      agent: fc.constant(null),
      step: small,
      evidence: fc.dictionary(fc.string(), fc.string()),
    }),
  }),
  fc.record({
    kind: fc.constant("remedy" as const),
    id: small,
    remedy: fc.constant({ do: "restart" as const }),
  }),
  fc.record({
    kind: fc.constant("checkpoint" as const),
    attempt: small,
    step: small,
    path: fc.string(),
    bytes: small,
    seconds: small,
    stallSeconds: small,
  }),
  fc.record({
    kind: fc.constant("phaseDone" as const),
    phase: fc.constant("train" as const),
    input: fc.string(),
    // What JSON holds: it has no negative zero.
    output: fc.jsonValue().map((value): unknown => JSON.parse(JSON.stringify(value))),
    seconds: small,
  }),
  fc.record({
    kind: fc.constant("stopAsked" as const),
    by: fc.constant("person" as const),
    now: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("ended" as const),
    outcome: fc.constant("done" as const),
    verdict: fc.constant(null),
  }),
);

const fresh = () => new Journal(folder, () => 7);
const path = () => join(folder, JOURNAL_FILE);

test("cut at any byte, the journal opens with whole events only, goes on, and reads the same", () => {
  fc.assert(
    fc.property(
      fc.array(event, { minLength: 1, maxLength: 8 }),
      fc.array(event, { maxLength: 3 }),
      fc.nat(),
      (before, after, at) => {
        rmSync(path(), { force: true });
        const first = fresh();
        for (const one of before) first.write(one);
        first.close();
        const whole = readFileSync(path());
        truncateSync(path(), at % (whole.length + 1));
        const kept = readJournal(folder);
        expect(kept).toEqual(
          before.slice(0, kept.length).map((one) => JSON.parse(JSON.stringify({ t: 7, ...one })) as unknown),
        );
        const second = fresh();
        expect(second.state).toEqual(replay(kept));
        for (const one of after) second.write(one);
        second.close();
        expect(readJournal(folder)).toHaveLength(kept.length + after.length);
        expect(replay(readJournal(folder))).toEqual(second.state);
      },
    ),
    { numRuns: 60 },
  );
});

test("garbage after the last event is cut and counted; a change in the middle ends the trusted part", () => {
  const journal = fresh();
  for (let epoch = 1; epoch <= 3; epoch++) journal.write({ kind: "controller", epoch, pid: 1, host: "h" });
  journal.close();
  const good = readFileSync(path(), "utf8");
  writeFileSync(path(), `${good}{"n":3,"c":"0000`);
  const again = fresh();
  expect(again.cutBytes).toBe(16);
  expect(again.state.epoch).toBe(3);
  again.close();
  writeFileSync(path(), good.replace('"epoch":2', '"epoch":9'));
  expect(readJournal(folder)).toHaveLength(1);
});

test("replay is one reduction: the same events give the same state, split anywhere", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 12 }), fc.nat(12), (events, cut) => {
      const stamped = events.map((one, t) => ({ t, ...one }) as Parameters<typeof reduce>[1]);
      const whole = replay(stamped);
      expect(stamped.slice(cut).reduce(reduce, replay(stamped.slice(0, cut)))).toEqual(whole);
      expect(replay(stamped)).toEqual(whole);
      // A state comes back from JSON as it was, so that it can be sent and stored.
      expect(JSON.parse(JSON.stringify(whole))).toEqual(whole);
    }),
  );
});

test("an event of a later version is kept without effect", () => {
  const strange = { t: 3, kind: "aurora", colour: "green" } as unknown as Parameters<typeof reduce>[1];
  expect(reduce(EMPTY, strange)).toEqual({ ...EMPTY, lastAt: 3 });
});

test("a journal that cannot be written is told with its code, and nothing is believed", () => {
  const journal = fresh();
  journal.write({ kind: "controller", epoch: 1, pid: 1, host: "h" });
  journal.close();
  expect(() => journal.write({ kind: "controller", epoch: 2, pid: 1, host: "h" })).toThrowError(
    /RUN_JOURNAL/,
  );
  expect(journal.state.epoch).toBe(1);
  expect(readJournal(folder)).toHaveLength(1);
});
