/** A model from its Hugging Face config.json: weights, parameters, FLOPs, operators. Pure; runs in a browser. */
export {
  flopsPerToken,
  layerMacs,
  type LayerMacs,
  meanVisible,
  moeOf,
  type PairConvention,
  type TokenFlops,
  visibleKeys,
} from "./flops.ts";
export { type ImportOptions, importModel, parseConfig, parseModel } from "./import.ts";
export { KNOWN_MODELS, knownConfig } from "./known/index.ts";
export { bodyWeights, countParameters, type ParameterCounts } from "./parameters.ts";
export type * from "./types.ts";
export { elements, wordTable } from "./weights.ts";
