/** The wire: messages between worker, agent and controller, as lines of JSON, with guards against what is not one. */
export { decodeArray, encodeArray } from "./arrays.ts";
export { encodeLine, LineDecoder } from "./codec.ts";
export {
  isFinite,
  known,
  number,
  toAgentMessage,
  toClientMessage,
  toControllerMessage,
  toWorkerMessage,
  toZygoteMessage,
} from "./guards.ts";
export type {
  AgentMessage,
  BalanceMessage,
  ByLink,
  ClientMessage,
  ControllerMessage,
  KnownMessage,
  LinkTimes,
  RankView,
  StepMessage,
  WorkerCommand,
  WorkerMessage,
  ZygoteMessage,
} from "./messages.ts";
