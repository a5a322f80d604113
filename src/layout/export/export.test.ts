import fc from "fast-check";
import { unwrap } from "../../base/index.ts";
import { describe, expect, test } from "vitest";
import { BF16_MIXED, evenStages, FLOAT32, type Layout, type Precision, SINGLE, worldOf } from "../layout.ts";
import { PRECISIONS } from "../precision.ts";
import { canonical, exportPlan, importPlan, type Settings, type Target, TARGETS } from "./index.ts";

const PURE_BF16: Precision = { ...BF16_MIXED, master: "none", moments: "bfloat16" };
const FSDP: Precision = { ...FLOAT32, activations: "bfloat16", dispatch: "bfloat16" };

/** Settings over the whole range, most of which any one target refuses. */
const anySettings: fc.Arbitrary<Settings> = fc
  .record({
    pp: fc.constantFrom(1, 2, 4),
    vpp: fc.constantFrom(1, 2, 3),
    tp: fc.constantFrom(1, 2, 4),
    cp: fc.constantFrom(1, 2),
    ep: fc.constantFrom(1, 2, 4),
    etp: fc.constantFrom(1, 2),
    dpReplicate: fc.constantFrom(1, 2),
    dpShard: fc.constantFrom(2, 4, 8),
    sequenceParallel: fc.boolean(),
    contextParallel: fc.constantFrom<Layout["contextParallel"]>("ring", "allGather", "ulysses"),
    zero: fc.constantFrom<Layout["zero"]>(0, 1, 2, 3, 3, 3),
    reshardAfterForward: fc.boolean(),
    schedule: fc.constantFrom<Layout["schedule"]>("gpipe", "1f1b", "zbh1", "zbv", "dualpipev"),
    recompute: fc.constantFrom<Layout["recompute"]>(
      { kind: "none" },
      { kind: "full" },
      { kind: "full", layers: 2 },
      { kind: "selective", regions: ["norm", "moeActivation"] },
      { kind: "selective", regions: ["attention"] },
    ),
    optimizer: fc.constantFrom(0, 0, 0.5, 1),
    activations: fc.constantFrom<Layout["offload"]["activations"]>([], [], ["coreAttention"], ["layerInput"]),
    precision: fc.constantFrom(
      BF16_MIXED,
      FLOAT32,
      FSDP,
      PURE_BF16,
      { ...BF16_MIXED, weights: "mxfp8" as const },
      { ...BF16_MIXED, moments: "bfloat16" as const, gradients: "bfloat16" as const },
    ),
    kind: fc.constantFrom("adamw" as const, "adamw" as const, "muon" as const),
    mtp: fc.boolean(),
    products: fc.constantFrom(undefined, undefined, undefined, "fp8" as const, "fp4" as const),
    dispatcher: fc.constantFrom(undefined, undefined, "flex" as const),
    shift: fc.integer({ min: 0, max: 2 }),
    microBatch: fc.constantFrom(1, 2),
  })
  .map((g) => {
    const folded = g.schedule === "zbv" || g.schedule === "dualpipev";
    const vpp = g.pp === 1 ? 1 : folded ? 2 : g.schedule === "1f1b" ? g.vpp : 1;
    const stages = evenStages(12, g.pp * vpp);
    // Uneven cuts too: move a few layers from the last stage to the first.
    for (let i = 0; i < g.shift && g.pp > 1; i++) {
      const flat = stages.flat();
      const sizes = stages.map((s) => s.length);
      if ((sizes.at(-1) as number) < 1) break;
      sizes[0] = (sizes[0] as number) + 1;
      sizes[sizes.length - 1] = (sizes.at(-1) as number) - 1;
      let next = 0;
      sizes.forEach((size, s) => {
        stages[s] = flat.slice(next, next + size);
        next += size;
      });
    }
    const layout: Layout = {
      ...SINGLE,
      pp: g.pp,
      vpp,
      tp: g.tp,
      cp: g.cp,
      ep: g.ep,
      etp: g.etp,
      dpReplicate: g.dpReplicate,
      dpShard: g.dpShard,
      sequenceParallel: g.sequenceParallel,
      contextParallel: g.contextParallel,
      zero: g.zero,
      reshardAfterForward: g.reshardAfterForward,
      schedule: g.pp === 1 ? "1f1b" : vpp > 1 && g.schedule === "1f1b" ? "interleaved1f1b" : g.schedule,
      stages,
      recompute: g.recompute,
      offload: { optimizer: g.optimizer, activations: g.activations },
    };
    return {
      layout,
      training: {
        sequence: 4096,
        microBatch: g.microBatch,
        globalBatch: 64 * g.dpReplicate * g.dpShard,
        precision: g.precision,
        optimizer: g.kind,
        mtp: g.mtp,
      },
      ...(g.products ? { products: g.products } : {}),
      ...(g.dispatcher ? { dispatcher: g.dispatcher } : {}),
    };
  });

/** Most random settings are refused by a stack; plain ones keep to what FSDP2 stacks do, so that many are written too. */
function plain(settings: Settings, target: Target): Settings {
  const { layout, training } = settings;
  const own = target === "tessera";
  const alone = own || target === "veomni";
  const pp = target === "veomni" ? 1 : layout.pp;
  if (target === "megatron" || target === "mindspeed" || target === "bridge") {
    const schedule = layout.vpp > 1 ? "interleaved1f1b" : "1f1b";
    const recompute = layout.recompute.kind === "selective" ? ({ kind: "none" } as const) : layout.recompute;
    const offload = { optimizer: Math.round(layout.offload.optimizer), activations: [] };
    return {
      layout: {
        ...layout,
        zero: 1,
        sequenceParallel: true,
        contextParallel: "ulysses",
        schedule,
        recompute,
        offload,
      },
      training: { ...training, precision: BF16_MIXED },
    };
  }
  return {
    layout: {
      ...layout,
      ...(pp === 1 ? { pp: 1, vpp: 1, schedule: "1f1b", stages: evenStages(12, 1) } : {}),
      ...(layout.schedule === "zbh1" || own
        ? { schedule: layout.vpp > 1 && pp > 1 ? "interleaved1f1b" : "1f1b" }
        : {}),
      tp: alone ? 1 : layout.tp,
      cp: own ? 1 : layout.cp,
      etp: 1,
      zero: 3,
      reshardAfterForward: own ? true : layout.reshardAfterForward,
      recompute: layout.recompute.kind === "selective" ? { kind: "none" } : { kind: "full" },
      offload: { optimizer: own ? 0 : Math.round(layout.offload.optimizer), activations: [] },
    },
    training: {
      ...training,
      precision: training.mtp ? FSDP : PURE_BF16,
      optimizer: "adamw",
      mtp: own && training.mtp,
    },
  };
}

describe.each(TARGETS)("%s", (target) => {
  test("what it can express comes back the same; what it cannot is named", () => {
    let written = 0;
    fc.assert(
      fc.property(anySettings, fc.boolean(), (random, simple) => {
        const settings = simple ? plain(random, target) : random;
        const text = exportPlan(settings, target);
        if (!text.ok) {
          expect(text.error.code).toBe("EXPORT_UNSUPPORTED");
          expect(String(text.error.params["what"]).length).toBeGreaterThan(5);
          return;
        }
        written++;
        const back = importPlan(text.value, target, { world: worldOf(settings.layout), layers: 12 });
        if (!back.ok) throw back.error;
        expect(back.value).toEqual(canonical(settings));
        const again = exportPlan(back.value, target);
        expect(again.ok && again.value).toBe(text.value);
      }),
      { numRuns: 500 },
    );
    expect(written).toBeGreaterThan(10);
  });

  test("nonsense is refused, never crashed on", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const back = importPlan(text, target, { world: 8, layers: 12 });
        if (!back.ok) expect(back.error.code).toBe("EXPORT_READ");
      }),
    );
  });
});

test("the published V4-Pro recipe reads as what it is", () => {
  const text = `--tensor-model-parallel-size 2 --pipeline-model-parallel-size 8 --expert-model-parallel-size 64 \\
    --expert-tensor-parallel-size 1 --num-layers 64 --num-layers-per-virtual-pipeline-stage 4 --noop-layers 3,62,63 \\
    --sequence-parallel --use-distributed-optimizer --swap-optimizer --recompute-granularity full --recompute-method uniform \\
    --recompute-num-layers 1 --micro-batch-size 1 --global-batch-size 1024 --seq-length 4096 --bf16 --mtp-num-layers 1`;
  const back = importPlan(text, "mindspeed", { world: 512, layers: 61 });
  if (!back.ok) throw back.error;
  const { layout } = back.value;
  expect([layout.pp, layout.vpp, layout.tp, layout.ep, layout.dpShard]).toEqual([8, 2, 2, 64, 32]);
  expect(layout.stages.flat().length).toBe(61);
  expect(layout.stages.map((s) => s.length)).toEqual([3, ...Array.from({ length: 14 }, () => 4), 2]);
});

test("Megatron is told the virtual stages once, by the layout string", () => {
  const settings: Settings = {
    layout: {
      ...SINGLE,
      pp: 2,
      vpp: 2,
      dpShard: 4,
      schedule: "interleaved1f1b",
      stages: [[0, 1], [2, 3, 4], [5], []],
    },
    training: {
      sequence: 4096,
      microBatch: 1,
      globalBatch: 32,
      precision: BF16_MIXED,
      optimizer: "adamw",
      mtp: true,
    },
  };
  const text = exportPlan(settings, "megatron");
  expect(text.ok && text.value).toContain("--pipeline-model-parallel-layout 'Ett|ttt|t|mL'");
  expect(text.ok && text.value).not.toContain("virtual");
  const container = exportPlan(settings, "bridge");
  expect(container.ok && container.value).toMatch(/ddp:[\s\S]*grad_reduce_in_fp32: true/);
});

test("Megatron layout strings may abbreviate", () => {
  const text = `--pipeline-model-parallel-size 4 --num-virtual-stages-per-pipeline-rank 4 --num-layers 61 --bf16 --seq-length 4096
    --micro-batch-size 1 --global-batch-size 64 --use-distributed-optimizer --pipeline-model-parallel-layout 'Et*4|(tttt|)*14tmL'`;
  const back = importPlan(text, "megatron", { world: 256, layers: 61 });
  if (!back.ok) throw back.error;
  expect(back.value.layout.stages.map((s) => s.length)).toEqual([...Array.from({ length: 15 }, () => 4), 1]);
});

test("a batch that empty sequences fill is refused, with the batch that divides", () => {
  const layout: Layout = { ...SINGLE, dpShard: 48, stages: evenStages(4, 1) };
  const training = {
    sequence: 4096,
    microBatch: 1,
    precision: BF16_MIXED,
    optimizer: "adamw",
    mtp: false,
  } as const;
  const padded = exportPlan(
    { layout, training: { ...training, globalBatch: 1024, padBatch: 0.25 } },
    "megatron",
  );
  expect(padded.ok).toBe(false);
  if (!padded.ok) expect(padded.error.message).toContain("a batch of 1056 it can");
  expect(exportPlan({ layout, training: { ...training, globalBatch: 1056 } }, "megatron").ok).toBe(true);
});

test("any of AutoModel's dispatchers that send a token once is read as one, its own all-to-all is not", () => {
  const layout: Layout = { ...SINGLE, dpShard: 8, ep: 8, zero: 3, stages: evenStages(4, 1) };
  const training = {
    sequence: 4096,
    microBatch: 1,
    globalBatch: 8,
    precision: PRECISIONS["bf16-fsdp"].precision,
    optimizer: "adamw",
    mtp: false,
  } as const;
  const text = unwrap(exportPlan({ layout, training, dispatcher: "flex" }, "automodel"));
  const read = (name: string) =>
    unwrap(importPlan(text.replace("deepep", name), "automodel", { world: 8, layers: 4 })).dispatcher;
  expect(["deepep", "hybridep", "uccl_ep", "torch"].map(read)).toEqual(["flex", "flex", "flex", undefined]);
});
