import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { say, unwrap } from "../base/index.ts";
import { readCase } from "./case.ts";
import { checkedCase } from "./case-faults.ts";
import { caseJsonSchema } from "./case-schema.ts";
import { BF16_MIXED, estimate, exportPlan, type Layout, PRECISIONS, SINGLE, TARGETS } from "./index.ts";

const CASE = {
  name: "a",
  model: "qwen3-30b-a3b",
  override: { num_hidden_layers: 8 },
  cluster: "h100:16",
  engine: "megatron",
  layout: {
    pp: 2,
    tp: 2,
    ep: 4,
    stages: [4, 4],
    recompute: { kind: "selective", regions: ["norm", "moeActivation"] },
    stageRecompute: ["none", { kind: "full", layers: 2 }],
    offload: { optimizer: true, activations: ["layerInput"] },
  },
  training: {
    sequence: 4096,
    microBatch: 1,
    globalBatch: 32,
    precision: { gradients: "bfloat16" },
    optimizer: "muon",
  },
  traits: { imbalance: 1.2, deduplicate: true, stepSeconds: 0.1 },
};

type Node = Record<PropertyKey, unknown>;
/** Paths of every value in plain data, the root first. */
const pathsOf = (value: unknown, at: readonly PropertyKey[] = []): (readonly PropertyKey[])[] => [
  at,
  ...(value !== null && typeof value === "object"
    ? Object.entries(value).flatMap(([step, inner]) => pathsOf(inner, [...at, step]))
    : []),
];
const PATHS = pathsOf(CASE);

/** What a hand may write in the place of a value; `undefined` takes the key away. */
const slip = fc.oneof(
  fc.constantFrom<unknown>(undefined, null, true, "", "none", "full", "bf16", "h100:8", "fp4", [], {}, [[0]]),
  fc.integer({ min: -3, max: 70 }),
  fc.double({ min: -2, max: 3, noNaN: true }),
  fc.constantFrom<unknown>(
    ["norm"],
    { kind: "full" },
    { kind: "selective" },
    { optimizer: 0.5 },
    { oops: 1 },
  ),
);

function changed(path: readonly PropertyKey[], value: unknown, key: string | undefined): unknown {
  if (path.length === 0) return value;
  const copy = structuredClone(CASE) as unknown as Node;
  const parent = path.slice(0, -1).reduce<Node>((at, step) => at[step] as Node, copy);
  const last = path.at(-1) as PropertyKey;
  if (key !== undefined && !Array.isArray(parent)) parent[key] = value;
  else if (value === undefined && !Array.isArray(parent)) delete parent[last];
  else parent[last] = value ?? null;
  return copy;
}

const anyCase = fc
  .tuple(
    fc.constantFrom(...PATHS),
    slip,
    fc.option(fc.constantFrom("oops", "Tp", "notes"), { nil: undefined, freq: 8 }),
  )
  .map(([path, value, key]) => changed(path, value, key));

test("the printed JSON Schema and the reader take and refuse the same data", () => {
  const printed = z.fromJSONSchema(caseJsonSchema("en") as Parameters<typeof z.fromJSONSchema>[0]);
  const taken = { yes: 0, no: 0 };
  fc.assert(
    fc.property(anyCase, (data) => {
      let reads = true;
      try {
        checkedCase(data, 0);
      } catch {
        reads = false;
      }
      taken[reads ? "yes" : "no"]++;
      expect(printed.safeParse(data).success).toBe(reads);
    }),
    { numRuns: 3000 },
  );
  // Both sides of the border were visited.
  expect(Math.min(taken.yes, taken.no)).toBeGreaterThan(100);
});

test("whatever a case says, it is read or refused in both languages, with its number and place", () => {
  fc.assert(
    fc.property(anyCase, (data) => {
      const read = readCase(data, { index: 7 });
      if (read.ok) return;
      const { entry, params, code } = read.error;
      for (const lang of ["en", "zh"] as const) {
        const told = say(entry.message, lang, params);
        expect(told, code).not.toMatch(/undefined|NaN|\{\w+\}/);
        expect(told).toContain(lang === "en" ? "case 7, " : "第 7 例，");
      }
      expect(params["key"] ?? params["path"]).toBeDefined();
      expect(entry.next).toBeDefined();
    }),
    { numRuns: 600 },
  );
});

/** Exports of the plan above for all stacks, damaged in one place. */
const SETTINGS = TARGETS.flatMap((target) => {
  const sharded = ["torchtitan", "automodel", "veomni", "tessera"].includes(target);
  const layout: Layout = {
    ...SINGLE,
    dpShard: 16,
    ep: 4,
    zero: sharded ? 3 : 1,
    sequenceParallel: false,
    stages: [Array.from({ length: 8 }, (_, i) => i)],
  };
  const training = {
    sequence: 4096,
    microBatch: 1,
    globalBatch: 32,
    precision: sharded ? PRECISIONS["bf16-fsdp"].precision : BF16_MIXED,
    optimizer: "adamw" as const,
    mtp: false,
  };
  return { target, text: unwrap(exportPlan({ layout, training }, target)) };
});

test("settings of every stack are answered as they were written", () => {
  for (const settings of SETTINGS) {
    const { training: _training, layout: _layout, engine: _engine, traits: _traits, ...rest } = CASE;
    const read = unwrap(readCase({ ...rest, settings }));
    expect(read.layout.dpShard).toBe(16);
    expect(read.training.globalBatch).toBe(32);
    expect(Number.isFinite(estimate(read).time.seconds)).toBe(true);
  }
});

test("damaged settings are read or refused, never a crash", () => {
  const { training: _training, layout: _layout, engine: _engine, ...rest } = CASE;
  const damaged = fc
    .tuple(
      fc.constantFrom(...SETTINGS),
      fc.nat(),
      fc.nat(40),
      fc.constantFrom("", "0", "x", "-1", "null", "{", "[]", "1.5"),
    )
    .map(([{ target, text }, at, cut, put]) => {
      const from = at % text.length;
      return { target, text: `${text.slice(0, from)}${put}${text.slice(from + cut)}` || "x" };
    });
  fc.assert(
    fc.property(damaged, (settings) => {
      const read = readCase({ ...rest, settings }, { index: 7 });
      if (read.ok) expect(Number.isFinite(estimate(read.value).time.seconds)).toBe(true);
      else
        expect(say(read.error.entry.message, "zh", read.error.params)).not.toMatch(/undefined|NaN|\{\w+\}/);
    }),
    { numRuns: 1500 },
  );
});

test("every key has its sentence in both languages", () => {
  const bare = (schema: { properties?: Record<string, object> }, at = ""): string[] =>
    Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => [
      ...("description" in inner ? [] : [`${at}${name}`]),
      ...bare(inner, `${at}${name}.`),
    ]);
  for (const lang of ["en", "zh"] as const) expect(bare(caseJsonSchema(lang) as object)).toEqual([]);
  expect(JSON.stringify(caseJsonSchema("zh"))).not.toBe(JSON.stringify(caseJsonSchema("en")));
});

test("products in a format that a device has no units for are refused; weights that are only kept in it are not", () => {
  const on = (cluster: string, precision: unknown) => {
    const { recompute: _, stageRecompute: __, ...layout } = CASE.layout;
    return readCase({ ...CASE, cluster, layout, training: { ...CASE.training, precision } });
  };
  expect(on("h100:16", "fp8").ok).toBe(true);
  expect(on("a100:16", { experts: "fp4" }).ok).toBe(true);
  const refused = on("a100:16", "fp8");
  expect(refused.ok ? "" : refused.error.code).toBe("PLAN_FORMAT");
  expect(refused.ok ? "" : refused.error.message).toContain("A100 SXM 80 GB has no fp8 matrix units");
  expect(on("h100:16", "fp4").ok).toBe(false);
});
