export { type StageHome, stageHomes } from "./devices.ts";
export { type LayerCost, layerCost, type ModuleCost } from "./layer.ts";
export { StageModel, type StageTerms } from "./stages.ts";
export { stageParameters, type StageParameters } from "./state.ts";
export { type Breakdown, type Mfu, STEP_TERMS, type StepTerm, type StepTime, TimeModel } from "./step.ts";
export { type Term, TERMS } from "./terms.ts";
export { MEGATRON_TRAITS, type Traits, traitsFor } from "./traits.ts";
