import { catalog, err, EXIT, ok, type Result } from "../base/index.ts";
import type { WorkerMessage } from "../run/index.ts";

const fail = catalog({
  DRILL_FORM: {
    exit: EXIT.usage,
    message: { en: "{text} is not a drill", zh: "{text} 不是演習的寫法" },
    next: { en: "write RANK@STEP, e.g. --drill 1@120", zh: "寫成 進程@步數，例如 --drill 1@120" },
  },
});

/** A fault made on purpose: this rank dies by SIGKILL once this step is done. */
export type Drill = { readonly rank: number; readonly step: number };

export function parseDrill(text: string): Result<Drill> {
  const match = /^(\d+)@(\d+)$/.exec(text);
  return match ? ok({ rank: Number(match[1]), step: Number(match[2]) }) : err(fail("DRILL_FORM", { text }));
}

/** Watches the ranks' messages and strikes once; a run that has had a fault already is left in peace, so a resumed one is not struck again. */
export class DrillRunner {
  readonly #drill: Drill;
  readonly #pids = new Map<number, number>();
  #done = false;

  constructor(drill: Drill) {
    this.#drill = drill;
  }

  /** What was killed, when this message made it time. */
  see(message: WorkerMessage, incidents: number): { rank: number; pid: number; step: number } | undefined {
    const { kind, rank, step } = message;
    if (kind === "hello" && typeof message["pid"] === "number") this.#pids.set(rank, message["pid"]);
    const pid = this.#pids.get(this.#drill.rank);
    if (this.#done || kind !== "step" || step < this.#drill.step || pid === undefined) return undefined;
    this.#done = true;
    if (incidents > 0) return undefined;
    process.kill(pid, "SIGKILL");
    return { rank: this.#drill.rank, pid, step };
  }
}
