import { expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { countParameters, importModel } from "./index.ts";
import { CLASS_TOTALS } from "./testing/class-totals.ts";

test.each(CLASS_TOTALS)("%s has the parameters of transformers' class", (type, total, fields) => {
  const model = unwrap(importModel({ model_type: type, ...fields }));
  const counts = countParameters(model);
  // afmoe holds its balancing bias as a parameter; everywhere else it is a buffer that is counted here.
  const buffers = [...model.layers].reduce(
    (sum, { body }) =>
      sum +
      body.sublayers
        .flatMap((s) => s.weights)
        .filter((w) => w.counted && !w.trained)
        .reduce((all, w) => all + w.shape.reduce((a, b) => a * b, 1), 0),
    0,
  );
  expect([counts.main, counts.main - buffers]).toContain(total);
});

test("lists that differ from layer to layer are refused where the class runs one value", () => {
  const result = importModel({
    model_type: "hunyuan_v1_moe",
    vocab_size: 1000,
    hidden_size: 64,
    intermediate_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_experts: 4,
    moe_topk: [1, 2],
  });
  expect(result.ok ? "" : result.error.code).toBe("MODEL_CONTRADICTION");
});
