import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import {
  type BalanceMessage,
  decodeArray,
  encodeLine,
  known,
  LineDecoder,
  type StepMessage,
  type WorkerMessage,
} from "../wire/index.ts";

export const TELEMETRY_FILE = "telemetry.ndjson";

/** One line of the telemetry file: the worker's message and which of its agent's messages it was. */
export type TelemetryRecord = WorkerMessage & {
  readonly agent: string;
  readonly instance: number;
  readonly seq: number;
};

/** So many ranks' steps are kept at every step; of more, each rank's are kept in turn. */
const RANKS_A_STEP = 64;

/**
 * What ranks measured, as it came: one file of JSON lines in `series/`, from which every curve is read. Not fsynced, because a lost
 * line costs a point of a curve and a slow disk must not cost a step; agents send again what was not acknowledged, and numbers already
 * there are skipped. Its size a step does not grow with the world: beyond 64 ranks each tells its own steps only every so often, except
 * rank 0, which speaks for the run.
 */
export class Series {
  readonly #fd: number;
  readonly #stride: number;
  readonly #seen = new Map<string, number>();
  /** Messages that could not be written: the disk is full. */
  lost = 0;

  constructor(folder: string, world: number) {
    this.#stride = Math.ceil(world / RANKS_A_STEP);
    mkdirSync(folder, { recursive: true });
    const path = join(folder, TELEMETRY_FILE);
    const good = existsSync(path) ? this.#scan(readFileSync(path)) : 0;
    this.#fd = openSync(path, "a");
    ftruncateSync(this.#fd, good);
  }

  /** False when the message was already there. */
  write(agent: string, instance: number, seq: number, message: WorkerMessage): boolean {
    const source = `${agent}/${instance}`;
    if (seq <= (this.#seen.get(source) ?? 0)) return false;
    this.#seen.set(source, seq);
    const { kind, rank, step } = message;
    if (kind === "step" && rank !== 0 && (rank + step) % this.#stride !== 0) return true;
    try {
      writeSync(this.#fd, encodeLine({ ...message, agent, instance, seq } satisfies TelemetryRecord));
    } catch {
      this.lost++;
    }
    return true;
  }

  /** Keeps something that the controller itself worked out. */
  note(message: WorkerMessage): void {
    try {
      writeSync(this.#fd, encodeLine(message));
    } catch {
      this.lost++;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Notes the newest number of each source; returns how many bytes are whole lines. */
  #scan(bytes: Buffer): number {
    for (const value of new LineDecoder().push(bytes)) {
      const { agent, instance, seq } = value as Partial<TelemetryRecord>;
      if (seq === undefined) continue;
      const source = `${agent}/${instance}`;
      this.#seen.set(source, Math.max(seq, this.#seen.get(source) ?? 0));
    }
    return bytes.lastIndexOf(0x0a) + 1;
  }
}

/** The newest step of rank 0, from the end of the file: a look that stays cheap on a long run. */
export const readLastStep = (seriesFolder: string): StepMessage | undefined =>
  readTail(seriesFolder).findLast((one) => one.kind === "step" && one.rank === 0) as StepMessage | undefined;

/** The controller's newest digest of the experts' loads, from the end of the file. */
export const readLastBalance = (seriesFolder: string): BalanceMessage | undefined =>
  readTail(seriesFolder).findLast((one) => one.kind === "balance") as BalanceMessage | undefined;

/** Tokens of every expert by layer, as the end of the file tells them last. */
export function readLastLoads(seriesFolder: string): Map<number, readonly number[]> {
  const found = new Map<number, readonly number[]>();
  for (const raw of readTail(seriesFolder)) {
    const message = known(raw);
    const array = message?.kind === "load" ? decodeArray(message.counts) : undefined;
    if (message?.kind !== "load" || !array) continue;
    const experts = array.shape[1] ?? 0;
    message.layers.forEach((layer, i) =>
      found.set(layer, array.values.slice(i * experts, (i + 1) * experts)),
    );
  }
  return found;
}

/** Messages of these kinds, from the whole file, without reading the others' content. */
export function readKinds(seriesFolder: string, kinds: readonly string[]): WorkerMessage[] {
  const path = join(seriesFolder, TELEMETRY_FILE);
  if (!existsSync(path)) return [];
  const bytes = readFileSync(path);
  const found: { at: number; message: WorkerMessage }[] = [];
  for (const kind of kinds) {
    const mark = `"kind":"${kind}"`;
    for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1)) {
      const start = bytes.lastIndexOf(0x0a, at) + 1;
      const end = bytes.indexOf(0x0a, at);
      if (end < 0) break;
      const value = new LineDecoder().push(bytes.subarray(start, end + 1))[0] as WorkerMessage | undefined;
      if (value?.kind === kind) found.push({ at, message: value });
    }
  }
  return found.sort((a, b) => a.at - b.at).map((one) => one.message);
}

function readTail(seriesFolder: string): WorkerMessage[] {
  const path = join(seriesFolder, TELEMETRY_FILE);
  if (!existsSync(path)) return [];
  const fd = openSync(path, "r");
  try {
    const { size } = fstatSync(fd);
    const tail = Buffer.alloc(Math.min(size, TAIL_BYTES));
    readSync(fd, tail, 0, tail.length, size - tail.length);
    return new LineDecoder().push(tail) as WorkerMessage[];
  } finally {
    closeSync(fd);
  }
}

const TAIL_BYTES = 256 * 1024;

/** All telemetry of a run, in the order it came. */
export function readTelemetry(seriesFolder: string): TelemetryRecord[] {
  const path = join(seriesFolder, TELEMETRY_FILE);
  return existsSync(path) ? (new LineDecoder().push(readFileSync(path)) as TelemetryRecord[]) : [];
}
