import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { toJsonl } from "../../../evaluate/index.ts";
import { runStep, writeIndex } from "../../../data/index.ts";
import { encodeArray, Journal, paths, Series, type WorkerMessage } from "../../../run/index.ts";
import { renderReport } from "../render.ts";
import { sampleInput } from "../testing/sample.ts";
import { loadReportInput } from "./load.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tessera-report-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const context = { cwd: "/", versions: [{ name: "tessera", value: "1.2.3" }] };

/** Worker messages of six steps, of which 4 and 5 are trained twice because of a fault. */
function messages(): WorkerMessage[] {
  const envelope = { v: 1 as const, run: "r1", attempt: 1 };
  return [1, 2, 3, 4, 5, 4, 5, 6].flatMap((step, i) => [
    {
      ...envelope,
      kind: "step",
      rank: 0,
      step,
      t: 1000 + i,
      loss: 5 - step + (i >= 5 ? 0.25 : 0),
      gradNorm: step === 2 ? "NaN" : 1,
      learningRate: 0.001,
      tokens: 1000,
      seconds: 0.5,
      cursor: step,
      memory: { peak: 0, hostPeak: 700 + i },
    },
    {
      ...envelope,
      kind: "load",
      rank: 0,
      step,
      t: 1000 + i,
      layers: [0, 2],
      counts: encodeArray("int32", [2, 4], [4, 4, 4, 4, i, 0, 8, 8 - i]),
    },
  ]);
}

/** A run folder as the parts of a run write it: journal, telemetry, plan, recipe, data steps, evaluation. */
async function runFolder(): Promise<string> {
  const run = join(folder, "runs", "or", "r1");
  let clock = 1000;
  const journal = new Journal(run, () => clock);
  const tell = (t: number, event: Parameters<Journal["write"]>[0]) => {
    clock = t;
    journal.write(event);
  };
  const evalFolder = join(run, "eval");
  tell(1000, { kind: "created", run: "r1", name: "or", version: "0.1.0" });
  tell(1000, { kind: "controller", epoch: 1, pid: 7, host: "h" });
  tell(1001, { kind: "phase", phase: "data", input: "a" });
  tell(1003, {
    kind: "phaseDone",
    phase: "data",
    input: "a",
    output: { folder: join(run, "data") },
    seconds: 2,
  });
  tell(1003, { kind: "phase", phase: "train", input: "b" });
  tell(1004, { kind: "checkpoint", attempt: 1, step: 3, path: "/x", bytes: 1, seconds: 1, stallSeconds: 0 });
  tell(1006, { kind: "rankExited", attempt: 1, rank: 2, code: null, signal: 9 });
  const alarm = {
    rule: "rankCrash" as const,
    code: "X",
    rank: 2,
    agent: null,
    step: 5,
    evidence: { signal: 9 },
  };
  tell(1006.5, { kind: "alarm", id: 1, attempt: 1, alarm });
  tell(1006.6, { kind: "remedy", id: 1, remedy: { do: "restart" } });
  tell(1008, { kind: "recovered", id: 1, attempt: 2, step: 4, seconds: 2, redone: 2 });
  tell(1013, {
    kind: "phaseDone",
    phase: "train",
    input: "b",
    output: { checkpoint: "/x", step: 6, worker: "" },
    seconds: 10,
  });
  tell(1013, { kind: "phase", phase: "measure", input: "c" });
  tell(1020, {
    kind: "phaseDone",
    phase: "measure",
    input: "c",
    output: { gate: "passed", file: join(evalFolder, "evaluation.json") },
    seconds: 7,
  });
  tell(1021, { kind: "ended", outcome: "done", verdict: null });
  journal.close();
  const series = new Series(paths(run).series, 4);
  for (const [i, message] of messages().entries()) series.write("local", 1, i + 1, message);
  series.close();
  writeFileSync(
    paths(run).recipe,
    `# Locked from /nowhere/recipe.yaml\n# folder: "/nowhere"\nname: or\nseed: 3\nstages:\n  - kind: sft\n    steps: 6\n`,
  );
  const bytes = {
    weights: 100,
    gradients: 50,
    optimizer: 200,
    activations: 70,
    unshard: 5,
    communication: 6,
    loss: 30,
    workspace: 9,
  };
  writeFileSync(
    paths(run).plan,
    JSON.stringify({
      schema: "tessera.plan/v1",
      name: "pp2 ep2",
      layout: { pp: 2, ep: 2, dpShard: 2 },
      free: 500,
      why: [{ en: "fits", zh: "放得下" }],
      memory: {
        world: 4,
        classOf: Uint16Array.from([0, 0, 1, 1]),
        classes: [
          { first: 0, count: 2, ppRank: 0, memory: { bytes, fragmentation: 10, framework: 20 } },
          {
            first: 2,
            count: 2,
            ppRank: 1,
            memory: { bytes: { ...bytes, weights: 1 }, fragmentation: 0, framework: 0 },
          },
        ],
      },
    }),
  );
  const data = join(run, "data");
  mkdirSync(data, { recursive: true });
  const made = await runStep(data, { step: "produce", code: "c1", parameters: {}, inputs: {} }, () => ({
    files: { "drafts.jsonl": "1\n" },
    counts: { in: 10, out: 10 },
  }));
  const gated = await runStep(
    data,
    { step: "gate", code: "c1", parameters: {}, inputs: { produce: made.manifest.content } },
    () => ({
      files: { "accepted.jsonl": "1\n" },
      counts: { in: 10, out: 7 },
      reasons: { infeasible: 2, "a-new-reason": 1 },
    }),
  );
  writeIndex(
    data,
    [made, gated].map(({ manifest }) => `${manifest.step}-${manifest.id}`),
  );
  const { evaluation } = sampleInput();
  mkdirSync(evalFolder);
  writeFileSync(join(evalFolder, "evaluation.json"), JSON.stringify(evaluation?.result));
  const examples = evaluation?.examples ?? [];
  writeFileSync(join(evalFolder, "items.jsonl"), toJsonl(examples));
  for (const side of ["base", "candidate"] as const) {
    writeFileSync(
      join(evalFolder, `${side}.outcomes.jsonl`),
      toJsonl(examples.map((example) => ({ id: example.id, ...example[side] }))),
    );
  }
  return run;
}

describe("reading a run folder", () => {
  test("every part is found", async () => {
    const input = loadReportInput(await runFolder(), context);
    expect(input.run).toMatchObject({
      name: "or",
      id: "r1",
      stage: "sft",
      started: 1000,
      finished: 1021,
      outcome: "done",
    });
    expect(input.run.command).toContain("recipe.lock.yaml");
    expect(input.asked.facts.map((fact) => fact.value.en)).toContain("sft, 6 steps");
    expect(input.funnel).toMatchObject([
      { in: 10, out: 10, dropped: [] },
      {
        in: 10,
        out: 7,
        dropped: [
          { reason: { zh: "不可行" }, count: 2 },
          { reason: { en: "a-new-reason" }, count: 1 },
        ],
      },
    ]);
    expect(input.lineage[1]?.from).toEqual([input.lineage[0]?.hash]);
    expect(input.memory).toMatchObject({
      capacityBytes: 500 + 500,
      measured: "process",
      layout: { en: "pp2 ep2 on 4 ranks" },
      why: [{ en: "fits", zh: "放得下" }],
    });
    expect(
      input.memory?.ranks.map((rank) => [rank.place, rank.planned.weights, rank.measuredPeakBytes]),
    ).toEqual([
      ["pp 0 · ep 0", 100, 707],
      ["pp 0 · ep 1", 100, null],
      ["pp 1 · ep 0", 1, null],
      ["pp 1 · ep 1", 1, null],
    ]);
    expect(input.memory?.ranks[0]?.planned).toMatchObject({ logits: 30, buffers: 20, other: 30 });
    expect(input.evaluation?.examples).toHaveLength(240);
  });

  test("steps that were trained again count once, and stay visible", async () => {
    const { training, experts } = loadReportInput(await runFolder(), context);
    expect(training).toMatchObject({ steps: 6, tokens: 6000, seconds: 10, effectiveRatio: 0.3 });
    const loss = training?.curves.find((curve) => curve.key === "loss");
    expect(loss?.points.map((point) => [point[0], point[3]])).toEqual([
      [1, 4],
      [2, 3],
      [3, 2],
      [4, 1.25],
      [5, 0.25],
      [6, -0.75],
    ]);
    expect(loss?.lost).toEqual([
      [4, 1],
      [5, 0],
    ]);
    const norm = training?.curves.find((curve) => curve.key === "gradNorm");
    expect(norm?.points[1]).toEqual([2, null, null, null, 1]);
    expect(experts).toMatchObject({ layers: [0, 2], experts: 4, bound: null });
    expect(experts?.frames.map((frame) => frame.step)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(experts?.frames[3]?.counts).toEqual([4, 4, 4, 4, 5, 0, 8, 3]);
    expect(experts?.ratio[3]).toEqual({ step: 4, worst: 2, mean: 1.5 });
  });

  test("a fault is told with its healing, and marked on the charts", async () => {
    const { timeline, training } = loadReportInput(await runFolder(), context);
    const kinds = timeline.map((event) => event.kind);
    expect(kinds.filter((kind) => kind === "phase")).toHaveLength(3);
    const fault = timeline.find((event) => event.kind === "fault");
    expect(fault).toMatchObject({
      t: 1006,
      end: 1008,
      step: 5,
      title: { en: "rank crash: rank 2", zh: "進程崩潰：進程 2" },
    });
    expect(kinds.slice(kinds.indexOf("note"))).toEqual([
      "note",
      "fault",
      "alarm",
      "remedy",
      "healed",
      "phase",
    ]);
    expect(training?.marks).toEqual([
      { step: 3, kind: "checkpoint", label: { en: "checkpoint", zh: "檢查點" } },
      { step: 5, kind: "fault", label: { en: "rank crash: rank 2", zh: "進程崩潰：進程 2" } },
    ]);
  });

  test("a run that only just began, or died, has a report too", async () => {
    const run = join(folder, "young");
    const journal = new Journal(run, () => 5);
    journal.write({ kind: "created", run: "r2", name: "young", version: "0.1.0" });
    journal.write({ kind: "controller", epoch: 1, pid: 1, host: "h" });
    journal.write({ kind: "phase", phase: "plan", input: "x" });
    journal.close();
    writeFileSync(paths(run).plan, "{ torn");
    const input = loadReportInput(run, context);
    expect(input).toMatchObject({
      memory: null,
      training: null,
      experts: null,
      evaluation: null,
      run: { outcome: "running" },
    });
    expect(renderReport(input)).toContain("Still running");
  });

  test("a report that is written as the last phase tells of a finished run, and names the layouts that lost", async () => {
    const run = await runFolder();
    const journal = new Journal(run, () => 1030);
    journal.write({ kind: "controller", epoch: 2, pid: 8, host: "h" });
    expect(loadReportInput(run, context).run.outcome).toBe("running");
    journal.write({ kind: "phase", phase: "report", input: "d" });
    journal.close();
    const plan = JSON.parse(readFileSync(paths(run).plan, "utf8")) as object;
    const why = { en: "slower", zh: "較慢" };
    const alternatives = [
      { name: "pp2 ep2", seconds: 1, free: 1, why },
      { name: "pp1 ep4", seconds: 2, free: 7, why },
    ];
    writeFileSync(
      paths(run).plan,
      JSON.stringify({ ...plan, others: { name: "pp4", seconds: 0.9, why: [why], alternatives } }),
    );
    const input = loadReportInput(run, context);
    expect(input.run.outcome).toBe("done");
    expect(input.memory?.others).toEqual([
      { name: "pp4", seconds: 0.9, freeBytes: null, why },
      { name: "pp1 ep4", seconds: 2, freeBytes: 7, why },
    ]);
  });

  test("another folder is refused", () => {
    expect(() => loadReportInput(folder, context)).toThrow(/REPORT_FOLDER/);
  });
});
