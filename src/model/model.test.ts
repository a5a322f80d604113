import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TesseraError, unwrap } from "../base/index.ts";
import {
  bodyWeights,
  countParameters,
  elements,
  flopsPerToken,
  importModel,
  layerMacs,
  meanVisible,
  type Model,
  parseModel,
  visibleKeys,
} from "./index.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const CONFIGS = [process.env["TESSERA_SHARED"], join(ROOT, "../shared"), join(ROOT, "../../shared")]
  .filter((path) => path !== undefined)
  .map((path) => join(path, "data/model_configs"))
  .find((path) => existsSync(path));

const v4 = (over: Record<string, unknown> = {}) => ({
  model_type: "deepseek_v4",
  hidden_size: 64,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 1,
  head_dim: 32,
  qk_rope_head_dim: 8,
  q_lora_rank: 24,
  o_lora_rank: 16,
  o_groups: 2,
  sliding_window: 16,
  index_n_heads: 4,
  index_head_dim: 16,
  index_topk: 8,
  n_routed_experts: 8,
  num_experts_per_tok: 2,
  n_shared_experts: 1,
  moe_intermediate_size: 32,
  num_hash_layers: 1,
  hc_mult: 4,
  compress_ratios: [0, 128, 4, 128, 0],
  num_nextn_predict_layers: 1,
  vocab_size: 512,
  ...over,
});
const load = (config: unknown): Model => unwrap(importModel(config));

describe("import", () => {
  test("a tiny DeepSeek-V4 has the weights that transformers gives it", () => {
    const model = load(v4());
    // transformers' DeepseekV4ForCausalLM of this config on the meta device, with its router biases (8 x 3 layers).
    const main = countParameters(model).main;
    expect(main).toBe(countByHand());
    expect(model.layers.map((l) => l.body.kind)).toEqual([
      "sliding+hashmoe",
      "hca+moe",
      "csa+moe",
      "hca+moe",
    ]);
    expect(model.mtp).toHaveLength(1);
    expect(bodyWeights(model.mtp[0]?.body as never).map((w) => w.name)).toContain("e_proj.weight");
  });

  /** The formulas of the model's report, written out independently of the builders. */
  function countByHand(): number {
    const [H, q, h, d, o, g, E, F, n, V] = [64, 24, 4, 32, 16, 2, 8, 32, 4, 512];
    const core = H * q + q + q * h * d + H * d + d + ((h * d) / g) * g * o + g * o * H + h;
    const pool = (r: number, dim: number, c: number) => 2 * H * c * dim + r * c * dim + dim;
    const hyper = 2 * ((2 + n) * n * n * H + (2 + n) * n + 3);
    const moe = (hash: boolean) => H * E + (hash ? 0 : E) + (E + 1) * 3 * H * F;
    const indexer = q * 4 * 16 + H * 4 + pool(4, 16, 2);
    const attention = [core, core + pool(128, d, 1), core + pool(4, d, 2) + indexer, core + pool(128, d, 1)];
    const layers = attention.reduce((sum, a, i) => sum + a + moe(i === 0) + hyper + 2 * H, 0);
    return layers + 2 * V * H + H + (n * n * H + n + 1);
  }

  test("layers of one kind share their body", () => {
    const model = load(v4());
    expect(model.layers[1]?.body).toBe(model.layers[3]?.body);
    expect(model.layers[1]?.body).not.toBe(model.layers[2]?.body);
  });

  test("both ways of writing V4's layers give the same model", () => {
    const { compress_ratios: _, num_hash_layers: __, ...rest } = v4();
    const kinds = ["sliding", "heavily_compressed", "compressed_sparse", "heavily_compressed"];
    const other = load({
      ...rest,
      layer_types: kinds.map((kind) => `${kind}_attention`),
      mlp_layer_types: ["hash_moe", "moe", "moe", "moe"],
    });
    expect(other.layers.map((l) => l.body)).toEqual(load(v4()).layers.map((l) => l.body));
  });

  test("the text part of a multimodal model is planned, the towers are named", () => {
    const text = {
      model_type: "qwen3_vl_text",
      hidden_size: 64,
      num_attention_heads: 4,
      num_hidden_layers: 2,
    };
    const model = load({
      model_type: "qwen3_vl",
      tie_word_embeddings: true,
      vision_config: {},
      text_config: { ...text, head_dim: 16, intermediate_size: 96, vocab_size: 100 },
    });
    expect(model.ignored).toEqual(["vision_config"]);
    expect(model.tied).toBe(true);
  });
});

describe("bad input", () => {
  const failing = (config: unknown, text?: string) => {
    const result = importModel(config, { file: "config.json", ...(text === undefined ? {} : { text }) });
    if (result.ok) throw new Error("expected a failure");
    expect(result.error).toBeInstanceOf(TesseraError);
    return result.error;
  };

  test("unknown type names what is near", () => {
    const error = failing({ model_type: "deepseek_v9", hidden_size: 4 });
    expect(error.code).toBe("MODEL_TYPE_UNKNOWN");
    expect(error.message).toContain("deepseek_v4");
  });

  test("a missing or wrong field is named with its line", () => {
    expect(failing(v4({ q_lora_rank: undefined })).params).toMatchObject({ field: "q_lora_rank" });
    const text = JSON.stringify(v4({ hidden_size: -4 }), null, 1);
    const result = parseModel(text, { file: "config.json" });
    expect(!result.ok && result.error.place).toEqual({ file: "config.json", line: 3, column: 2 });
  });

  test.each([
    [{ num_experts_per_tok: 9 }, "MODEL_CONTRADICTION"],
    [{ o_groups: 3 }, "MODEL_CONTRADICTION"],
    [{ compress_ratios: [0, 128] }, "MODEL_CONTRADICTION"],
    [{ compress_ratios: [0, 128, 7, 0] }, "MODEL_FIELD_INVALID"],
    [{ hidden_size: "64" }, "MODEL_FIELD_INVALID"],
    [{ num_hidden_layers: 1e30 }, "MODEL_FIELD_INVALID"],
  ])("%j is %s", (over, code) => {
    expect(failing(v4(over)).code).toBe(code);
  });

  test("text that is no JSON, and JSON that is no object", () => {
    const broken = parseModel("{", { file: "x" });
    expect(!broken.ok && broken.error.code).toBe("MODEL_NOT_JSON");
    expect(failing([1]).code).toBe("MODEL_NOT_OBJECT");
    expect(failing({}).code).toBe("MODEL_FIELD_MISSING");
  });

  test.each(["num_hidden_layers", "num_nextn_predict_layers"])("an absurd %s is refused", (field) => {
    const result = importModel(v4({ [field]: 1_500_000_000 }));
    expect(!result.ok && result.error.code).toMatch(/^MODEL_/);
  });

  test("whatever a field is set to, the answer is a model or a coded error", () => {
    const fields = Object.keys(v4());
    const junk = fc.oneof(
      fc.integer(),
      fc.double(),
      fc.string(),
      fc.constant(null),
      fc.array(fc.integer()),
      fc.boolean(),
    );
    fc.assert(
      fc.property(fc.constantFrom(...fields), junk, (field, value) => {
        const result = importModel(v4({ [field]: value }));
        if (!result.ok) expect(result.error.code).toMatch(/^MODEL_/);
      }),
    );
  });
});

describe("FLOPs", () => {
  test("mean of visible keys equals the sum over positions", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 400 }), (s, limit) => {
        let sum = 0;
        for (let p = 1; p <= s; p++) sum += Math.min(p, limit);
        expect(meanVisible(s, limit)).toBeCloseTo(sum / s, 8);
      }),
    );
  });

  test("chunked attention sees half a chunk, a window sees itself", () => {
    const spec = {
      kind: "grouped",
      heads: 1,
      keyValueHeads: 1,
      headDim: 8,
      valueDim: 8,
      gated: false,
    } as const;
    const rest = { queryKeyNorm: false, indexer: null } as const;
    expect(visibleKeys({ ...spec, ...rest, window: 16, windowKind: "chunk" }, 64)).toBe(8.5);
    expect(visibleKeys({ ...spec, ...rest, window: null, windowKind: "slide" }, 64)).toBe(32.5);
    expect(visibleKeys({ ...spec, ...rest, window: null, windowKind: "slide" }, 64, "full")).toBe(64);
  });

  test("linear work of a layer is its active weights", () => {
    const model = load(v4());
    const body = model.layers[1]?.body as Model["layers"][number]["body"];
    const expected = bodyWeights(body)
      .filter((w) => w.use === "linear")
      .reduce((sum, w) => sum + elements(w) * (w.cut.kind === "expert" ? 2 / 8 : 1), 0);
    expect(layerMacs(model, body, 256).linear).toBeCloseTo(expected, 6);
    expect(flopsPerToken(model, 256).total).toBeGreaterThan(flopsPerToken(model, 256, { mtp: false }).total);
  });
});

const file = (name: string) =>
  unwrap(parseModel(readFileSync(join(CONFIGS as string, name), "utf8"), { file: name }));

describe.runIf(CONFIGS !== undefined)("published configs", () => {
  const names = CONFIGS === undefined ? [] : readdirSync(CONFIGS).filter((name) => name.endsWith(".json"));
  test.each(names)("%s parses", (name) => {
    expect(countParameters(file(name)).total).toBeGreaterThan(1e8);
  });

  // Totals published with the checkpoints, or counted on transformers' classes on the meta device.
  test.each([
    ["deepseek-ai--DeepSeek-V4-Pro_config.json", 1_598_837_347_742, 1_572_997_179_491 + 22_272],
    ["deepseek-ai--DeepSeek-V4-Flash_config.json", 290_942_289_362, 284_332_230_231 + 10_240],
    ["zai-org--GLM-5.2_config.json", 753_329_940_480, 743_377_000_704 + 19_200],
    ["Qwen--Qwen3-235B-A22B-FP8_config.json", 235_093_634_560, 235_093_634_560],
    ["meta-llama--Llama-4-Maverick-17B-128E-Instruct_config.json", 400_711_848_960, 400_711_848_960],
    ["openai--gpt-oss-20b_config.json", 20_914_757_184, 20_914_757_184],
    ["google--gemma-4-26B-A4B_config.json", 25_233_141_760, 25_233_141_760],
    ["nvidia--NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16_config.json", undefined, 549_308_968_960 + 48 * 512],
  ])("%s has %i parameters", (name, total, main) => {
    const counts = countParameters(file(name));
    if (total !== undefined) expect(counts.total).toBe(total);
    expect(counts.main).toBe(main);
  });
});
