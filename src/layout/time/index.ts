export { type StageHome, stageHomes } from "./devices.ts";
export { StageModel, type StageTerms } from "./stages.ts";
export { type Breakdown, type Mfu, STEP_TERMS, type StepTerm, type StepTime, TimeModel } from "./step.ts";
export { TERMS } from "./terms.ts";
export { engineTraits, expertLoad, MEGATRON_TRAITS, type Traits, traitsFor } from "./traits.ts";
