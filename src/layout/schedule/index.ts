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
export { pairSeconds, simulate, simulateLong, type Simulation, type StageCosts } from "./simulate.ts";
