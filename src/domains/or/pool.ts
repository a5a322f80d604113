import { Worker } from "node:worker_threads";
import type { Job } from "./solve-worker.ts";
import type { Solution } from "./solver.ts";

/**
 * Solvers in threads of their own, for text that may be hard or hostile: HiGHS cannot be interrupted inside WebAssembly and looks at its own time limit
 * only between steps, so a thread that does not answer in time (or dies, or outgrows its memory) is ended and replaced; only
 * the text it was working on is lost, as status `limit` or `error`.
 */
export type PoolOptions = {
  readonly threads?: number;
  /** Wall-clock limit of one text. The thread is ended `GRACE_SECONDS` after it. */
  readonly timeLimitSeconds?: number;
  readonly memoryMiB?: number;
};

const GRACE_SECONDS = 2;
/** HiGHS keeps a little after every solve; a thread is replaced before that can add up. */
const SOLVES_PER_THREAD = 5000;

type Waiting = { readonly text: string; readonly settle: (solution: Solution) => void };
type Seat = {
  worker: Worker;
  ready: boolean;
  current: Waiting | undefined;
  timer: NodeJS.Timeout | undefined;
  solved: number;
};

const failed = (status: "limit" | "error", detail: string): Solution => ({
  status,
  objective: Number.NaN,
  values: {},
  detail,
});

export class SolverPool {
  readonly #seats: Seat[] = [];
  readonly #queue: Waiting[] = [];
  readonly #timeLimitSeconds: number;
  readonly #memoryMiB: number;
  #closed = false;
  /** Threads that had to be ended or that died. */
  replaced = 0;

  constructor(options: PoolOptions = {}) {
    this.#timeLimitSeconds = options.timeLimitSeconds ?? 5;
    this.#memoryMiB = options.memoryMiB ?? 512;
    for (let i = 0; i < (options.threads ?? 1); i++) this.#seats.push(this.#seat());
  }

  solve(text: string): Promise<Solution> {
    if (this.#closed) throw new Error("the pool is closed");
    return new Promise((settle) => {
      this.#queue.push({ text, settle });
      this.#next();
    });
  }

  /** Ends every thread; texts still waiting are settled as errors. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiting of this.#queue.splice(0)) waiting.settle(failed("error", "the pool was closed"));
    await Promise.all(
      this.#seats.map((seat) => {
        this.#finish(seat, failed("error", "the pool was closed"));
        return seat.worker.terminate();
      }),
    );
  }

  #seat(): Seat {
    const worker = new Worker(new URL("./solve-worker.ts", import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: this.#memoryMiB },
      // Node's own flags (a test runner's, say) are not for the thread.
      execArgv: [],
    });
    // What waits is the caller's business; an idle pool must not keep the process alive.
    worker.unref();
    const seat: Seat = { worker, ready: false, current: undefined, timer: undefined, solved: 0 };
    worker.on("message", (message: { ready?: true; id?: number; solution?: Solution }) => {
      if (message.ready) seat.ready = true;
      else if (message.solution) {
        seat.solved++;
        this.#finish(seat, message.solution);
        if (seat.solved >= SOLVES_PER_THREAD) this.#replace(seat, undefined);
      }
      this.#next();
    });
    worker.on("error", (cause) =>
      this.#replace(seat, failed("error", cause instanceof Error ? cause.message : String(cause))),
    );
    return seat;
  }

  #next(): void {
    for (const seat of this.#seats) {
      if (!seat.ready || seat.current) continue;
      const waiting = this.#queue.shift();
      if (!waiting) return;
      seat.current = waiting;
      seat.worker.ref();
      const limit = this.#timeLimitSeconds;
      seat.timer = setTimeout(
        () => {
          this.#replace(seat, failed("limit", `no answer after ${limit} s`));
        },
        (limit + GRACE_SECONDS) * 1000,
      );
      seat.worker.postMessage({ id: seat.solved, text: waiting.text, timeLimitSeconds: limit } satisfies Job);
    }
    if (this.#queue.length > 0) for (const seat of this.#seats) seat.worker.ref();
  }

  #finish(seat: Seat, solution: Solution): void {
    clearTimeout(seat.timer);
    const { current } = seat;
    seat.current = undefined;
    seat.worker.unref();
    current?.settle(solution);
  }

  #replace(seat: Seat, solution: Solution | undefined): void {
    if (this.#closed) return;
    void seat.worker.terminate();
    if (solution) {
      this.replaced++;
      this.#finish(seat, solution);
    }
    this.#seats[this.#seats.indexOf(seat)] = this.#seat();
    this.#next();
  }
}
