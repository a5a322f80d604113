import type { Block, LayerBody } from "../../model/types.ts";
import type { LayerContext, LayerCost } from "./context.ts";
import { CostSum } from "./cost-sum.ts";

/** Cost of one micro-batch through one layer on one rank. */
export function layerCost(body: LayerBody, context: LayerContext): LayerCost {
  const sum = new CostSum(context);
  sum.norms(body.weights);
  sum.linears(body.weights, context.tokens);
  if (context.streams > 1) sum.hyperConnections(body.sublayers.length);
  else sum.residuals(body.sublayers.length);
  for (const sublayer of body.sublayers) {
    if (sublayer.role === "attention") sum.attention(sublayer.spec, sublayer.weights);
    else if (sublayer.spec.kind === "moe") sum.moe(sublayer.spec, sublayer.weights);
    else sum.dense(sublayer);
  }
  return sum.finish();
}

/** Lookup of the input embedding. */
export function embeddingCost(context: LayerContext): LayerCost {
  const sum = new CostSum(context);
  const { hidden, activationBytes: a, tokens, tp } = context;
  sum.stream("embedding", tokens * hidden * 2 * a, 1, tokens * hidden * (a + 8), 2);
  if (tp > 1) sum.tensor("embedding", 0, 1, tokens * hidden * a);
  return sum.finish();
}

/**
 * Final norm, output projection and cross entropy. The projection stays in 16 bits where layers multiply in fewer: Megatron's output
 * layer is none of Transformer Engine's, torchtitan's float8 recipes filter it out, DeepSeek-V3 names it (arXiv:2412.19437, 3.3.1).
 */
export function headCost(block: Block, vocabulary: number, context: LayerContext): LayerCost {
  const sum = new CostSum({ ...context, format: context.format === "fp32" ? "fp32" : "bf16" });
  sum.norms(block.weights);
  sum.linears(block.weights, context.tokens);
  // Loss: logits are read in their format, exponentials summed in fp32, gradient written in place.
  const logits = (context.tokens * vocabulary) / context.tp;
  sum.stream("head", logits * 10, 3, logits * 6, 2);
  if (context.tp > 1) sum.tensor("head", 1, 0, context.tokens * context.hidden * context.activationBytes);
  return sum.finish();
}
