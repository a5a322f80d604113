import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { unwrap } from "../../base/index.ts";
import { encodeLine, engineEnv, enginePython, LineDecoder } from "../../run/index.ts";
import { calibrateFail } from "./errors.ts";
import { keyOf, type Point, shortName } from "./points.ts";

type Message = Readonly<Record<string, unknown>>;
/** What one rank answered: seconds of one call, by the clock and by its processors; or why it could not. */
export type Answer = { readonly wall: number[]; readonly busy: number[] } | { readonly problem: string };

type Rank = {
  readonly child: ChildProcess;
  readonly inbox: Message[];
  /** Called when a message came or the process ended. */
  wake: () => void;
  ended: string | null;
  complaint: string;
  readonly gone: Promise<void>;
};

const START_SECONDS = 120;
const ANSWER_SECONDS = 60;

/**
 * Measuring processes that are told the same points at once. With `meet` they form one process group and can run collectives;
 * without, each is alone on its device.
 */
export class Fleet {
  readonly #ranks: Rank[];
  readonly #signal: AbortSignal;
  hello: Message = {};

  private constructor(ranks: Rank[], signal: AbortSignal) {
    this.#ranks = ranks;
    this.#signal = signal;
  }

  static async start(
    count: number,
    meet: boolean,
    env: Readonly<Record<string, string | undefined>>,
    signal: AbortSignal,
  ): Promise<Fleet> {
    const python = unwrap(enginePython(env));
    const port = meet ? await freePort() : 0;
    const ranks = Array.from({ length: count }, (_, rank): Rank => {
      const world = {
        WORLD_SIZE: `${count}`,
        MASTER_ADDR: "127.0.0.1",
        MASTER_PORT: `${port}`,
        RANK: `${rank}`,
      };
      const child = spawn(python, ["-m", "tessera_engine", "calibrate"], {
        env: { ...env, ...engineEnv(env), LOCAL_RANK: `${rank}`, ...(meet ? world : {}) },
        stdio: ["pipe", "pipe", "pipe"],
        // A group of its own: a Ctrl-C is for the controller, which decides what it means.
        detached: true,
      });
      return listen(child);
    });
    const fleet = new Fleet(ranks, signal);
    try {
      const hellos = await Promise.all(ranks.map((_, rank) => fleet.#take(rank, START_SECONDS, "start")));
      fleet.hello = hellos[0] as Message;
    } catch (cause) {
      await fleet.stop();
      if (signal.aborted) throw cause;
      const why = ranks.map(({ complaint, ended }) => complaint || ended).find(Boolean) ?? String(cause);
      throw calibrateFail("CALIBRATE_START", { why }, {}, cause);
    }
    return fleet;
  }

  /** Runs a point on all ranks; answers in rank order. */
  async run(point: Point, inner: number, samples: number): Promise<Answer[]> {
    const what = shortName(keyOf(point));
    for (const { child } of this.#ranks) child.stdin?.write(encodeLine({ ...point, id: 0, inner, samples }));
    // The first to end explains the silence of the others, so it must not wait behind them.
    const answers = await Promise.all(this.#ranks.map((_, rank) => this.#take(rank, ANSWER_SECONDS, what)));
    return answers.map((answer) =>
      answer["kind"] === "samples"
        ? { wall: answer["wall"] as number[], busy: answer["busy"] as number[] }
        : { problem: `${String(answer["code"])}: ${String(answer["message"])}` },
    );
  }

  /** Process ids in rank order. */
  get pids(): number[] {
    return this.#ranks.map(({ child }) => child.pid ?? 0);
  }

  /** Ends all of them; when it is through, none is left. */
  async stop(): Promise<void> {
    for (const { child } of this.#ranks) child.kill("SIGKILL");
    await Promise.all(this.#ranks.map(({ gone }) => gone));
  }

  async #take(rank: number, seconds: number, point: string): Promise<Message> {
    const one = this.#ranks[rank] as Rank;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, seconds * 1000);
    const wake = () => {
      if (one.inbox.length > 0 || one.ended !== null || this.#signal.aborted) resolve();
    };
    one.wake = wake;
    this.#signal.addEventListener("abort", wake);
    wake();
    await promise;
    clearTimeout(timer);
    this.#signal.removeEventListener("abort", wake);
    this.#signal.throwIfAborted();
    const message = one.inbox.shift();
    if (message) return message;
    if (one.ended !== null) {
      const why = one.complaint || "-";
      throw calibrateFail("CALIBRATE_RANK_DIED", { rank, how: one.ended, point, why }, { rank });
    }
    throw calibrateFail("CALIBRATE_SILENT", { rank, seconds, point }, { rank });
  }
}

function listen(child: ChildProcess): Rank {
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  const rank: Rank = { child, inbox: [], wake: () => undefined, ended: null, complaint: "", gone };
  const decoder = new LineDecoder();
  child.stdout?.on("data", (chunk: Buffer) => {
    rank.inbox.push(...(decoder.push(chunk) as Message[]));
    rank.wake();
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    rank.complaint = chunk.toString("utf8").trim().split("\n").at(-1) || rank.complaint;
  });
  // Writing to a rank that just ended is answered by its end, not by this.
  child.stdin?.on("error", () => undefined);
  const end = (how: string) => {
    rank.ended ??= how;
    rank.wake();
    resolve();
  };
  child.on("error", (cause) => end(cause.message));
  child.on("close", (code, sig) => end(sig ?? `exit code ${code}`));
  return rank;
}

async function freePort(): Promise<number> {
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.once("error", reject);
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    server.close(() => resolve(port));
  });
  return promise;
}
