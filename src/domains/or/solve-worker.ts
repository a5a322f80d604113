import { parentPort } from "node:worker_threads";
import { Solver } from "./solver.ts";

/** The other side of `pool.ts`: solves one text at a time, answers with the same number. */
export type Job = { readonly id: number; readonly text: string; readonly timeLimitSeconds: number };

const port = parentPort;
if (port) {
  const solver = await Solver.open();
  port.on("message", async (job: Job) => {
    const solution = await solver.solve(job.text, { timeLimitSeconds: job.timeLimitSeconds });
    port.postMessage({ id: job.id, solution });
  });
  port.postMessage({ ready: true });
}
