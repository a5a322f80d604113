import type {
  AgentMessage,
  ClientMessage,
  ControllerMessage,
  KnownMessage,
  StepMessage,
  WorkerMessage,
  ZygoteMessage,
} from "./messages.ts";

type Fields = Readonly<Record<string, unknown>>;
type Check = (value: unknown) => boolean;

const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const text: Check = (value) => typeof value === "string";
const flag: Check = (value) => typeof value === "boolean";
const whole: Check = (value) => Number.isSafeInteger(value);
/** NaN and infinities travel as null or as the words that Python's JSON writes; see `number`. */
const float: Check = (value) =>
  typeof value === "number" ||
  value === null ||
  value === "NaN" ||
  value === "Infinity" ||
  value === "-Infinity";
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const list =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const shape = (fields: Readonly<Record<string, Check>>): Check => {
  const entries = Object.entries(fields);
  return (value) => isObject(value) && entries.every(([name, check]) => check(value[name]));
};

/** A float of a message as a number: what JSON cannot say comes back as NaN or an infinity. */
export function number(value: unknown): number {
  if (typeof value === "number") return value;
  return value === "Infinity" ? Infinity : value === "-Infinity" ? -Infinity : Number.NaN;
}

const rank = shape({
  rank: whole,
  pid: orNull(whole),
  state: text,
  code: orNull(whole),
  signal: orNull(whole),
});

const WORKER: Readonly<Record<string, Check>> = {
  hello: shape({ pid: whole }),
  phase: shape({ name: text }),
  step: shape({
    loss: float,
    gradNorm: float,
    learningRate: float,
    tokens: whole,
    seconds: float,
    cursor: whole,
  }),
  load: shape({ layers: list(whole), counts: shape({ dtype: text, shape: list(whole), b64: text }) }),
  placement: shape({ layers: (value) => isObject(value) && Object.values(value).every(list(whole)) }),
  moved: shape({ bytes: whole, slots: whole, layers: list(whole), seconds: float }),
  rehearsed: shape({ samples: list(list(float)) }),
  parity: shape({ ok: flag, maxRelative: float }),
  nograd: shape({ parameters: list(text) }),
  saving: () => true,
  saved: shape({ path: text, seconds: float, bytes: whole }),
  ack: shape({ id: text, do: text, ok: flag }),
  fatal: shape({ code: text, message: text }),
  log: shape({ level: text, text }),
  done: () => true,
};

const AGENT: Readonly<Record<AgentMessage["kind"], Check>> = {
  join: shape({
    token: text,
    agent: text,
    instance: whole,
    pid: whole,
    host: text,
    attempt: whole,
    ranks: list(rank),
    zygote: flag,
  }),
  zygote: shape({ torch: text, transformers: text, pid: whole }),
  zygote_lost: shape({ code: orNull(whole), text }),
  master: shape({ attempt: whole, host: text, port: whole }),
  spawned: shape({ attempt: whole, rank: whole, pid: whole }),
  exited: shape({ seq: whole, attempt: whole, rank: whole, code: orNull(whole), signal: orNull(whole) }),
  telemetry: shape({ seq: whole, message: (value) => toWorkerMessage(value) !== undefined }),
  beat: shape({
    t: float,
    dropped: whole,
    processes: list(shape({ rank: whole, state: text, cpuSeconds: float })),
  }),
};

const CONTROLLER: Readonly<Record<ControllerMessage["kind"], Check>> = {
  welcome: shape({ epoch: whole }),
  refused: shape({ why: text }),
  master: shape({ attempt: whole }),
  spawn: shape({ attempt: whole, spec: text, ranks: list(shape({ rank: whole, env: isObject })) }),
  kill: shape({ attempt: whole, signal: whole }),
  command: shape({ rank: whole, command: shape({ id: text, do: text }) }),
  ack: shape({ seq: whole }),
  quit: () => true,
};

const ZYGOTE: Readonly<Record<ZygoteMessage["kind"], Check>> = {
  ready: shape({ torch: text, transformers: text, pid: whole }),
  spawned: shape({ rank: whole, pid: whole }),
  exited: shape({ rank: whole, pid: whole, code: orNull(whole), signal: orNull(whole) }),
};

const byKind =
  <T>(checks: Readonly<Record<string, Check>>) =>
  (value: unknown): T | undefined =>
    isObject(value) &&
    typeof value["kind"] === "string" &&
    Object.hasOwn(checks, value["kind"]) &&
    checks[value["kind"]]?.(value)
      ? (value as T)
      : undefined;

export const toAgentMessage = byKind<AgentMessage>(AGENT);
export const toControllerMessage = byKind<ControllerMessage>(CONTROLLER);
export const toZygoteMessage = byKind<ZygoteMessage>(ZYGOTE);

export function toClientMessage(value: unknown): ClientMessage | undefined {
  const fields = shape({
    token: text,
    do: (word) => ["stop", "stop_now", "checkpoint", "status"].includes(word as string),
  });
  return isObject(value) && value["kind"] === "client" && fields(value)
    ? (value as ClientMessage)
    : undefined;
}

/** Any message of a worker, of a known kind or not: only the envelope must be right. */
export function toWorkerMessage(value: unknown): WorkerMessage | undefined {
  return isObject(value) &&
    value["v"] === 1 &&
    text(value["kind"]) &&
    text(value["run"]) &&
    whole(value["rank"]) &&
    whole(value["step"]) &&
    typeof value["t"] === "number" &&
    whole(value["attempt"])
    ? (value as WorkerMessage)
    : undefined;
}

/** The message as one that the supervisor acts on, or nothing when its kind is unknown or a field is wrong. */
export function known(message: WorkerMessage): KnownMessage | undefined {
  return Object.hasOwn(WORKER, message.kind) && WORKER[message.kind]?.(message)
    ? (message as unknown as KnownMessage)
    : undefined;
}

/** True when the loss and the gradient norm of a step are numbers. */
export const isFinite = (step: StepMessage): boolean =>
  Number.isFinite(number(step.loss)) && Number.isFinite(number(step.gradNorm));
