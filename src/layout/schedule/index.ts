export {
  buildOrder,
  chunksOf,
  type Order,
  PASS,
  passKind,
  passMicro,
  passStage,
  scheduleProblem,
} from "./orders.ts";
export { simulate, simulateLong, type Simulation, type StageCosts } from "./simulate.ts";
export { type SharedCores, simulateShared } from "./share.ts";
