export { compareOutcomes, type Comparison, type Group, GROUPS, type Slice } from "./compare.ts";
export { type Engine, modelIdentity, pythonEngine, runTool } from "./engine.ts";
export {
  decideGate,
  DEFAULT_POLICY,
  type Gate,
  type GateCheck,
  GATE_REASONS,
  type GatePolicy,
  type GateReason,
  type GateVerdict,
} from "./gate.ts";
export { generateAnswers, type GenerateRequest } from "./generate.ts";
export { readJsonl, toJsonl } from "./jsonl.ts";
export { type Evaluation, measure, type MeasurePhase, type MeasureRequest } from "./measure.ts";
export {
  mcnemarExact,
  minimumDetectableEffect,
  type PairedCounts,
  pairedDifference,
} from "./paired.ts";
export { type Estimate, wilson } from "./proportion.ts";
export { compareRetention, type Retention, type RowLoss } from "./retention.ts";
export { alignToItems, countVerdicts, itemsProblem, scoreAnswers } from "./score.ts";
export {
  type Answer,
  type Checked,
  type Checker,
  type Item,
  type Outcome,
  type Verdict,
  type VerdictCounts,
  VERDICTS,
} from "./types.ts";
export { orChecker, orFamilyNames, readOrItems } from "./or.ts";
