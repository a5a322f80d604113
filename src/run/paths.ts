import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** Where things lie in a run folder. */
export const paths = (folder: string) => ({
  folder,
  recipe: join(folder, "recipe.lock.yaml"),
  plan: join(folder, "plan.json"),
  worker: join(folder, "worker.json"),
  lock: join(folder, ".controller.lock"),
  controller: join(folder, "controller.json"),
  checkpoints: join(folder, "checkpoints"),
  scan: join(folder, "scan.json"),
  order: join(folder, "order.json"),
  series: join(folder, "series"),
  logs: join(folder, "logs"),
  report: join(folder, "report.html"),
  agentFile: (agent: string) => join(folder, "agents", `${agent}.json`),
  agentLock: (agent: string) => join(folder, "agents", `.${agent}.lock`),
  agentSpool: (agent: string) => join(folder, "agents", `${agent}.spool`),
  agentLog: (agent: string) => join(folder, "logs", `agent-${agent}.log`),
  rankLog: (rank: number) => join(folder, "logs", `rank-${rank}.log`),
});

const short = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 12);

/** A unix socket's address is at most 107 bytes, so it lies in the temporary folder, named after the run folder. */
export const socketPath = (folder: string, agent: string, pid: number): string =>
  join(tmpdir(), `tessera-${short(resolve(folder))}-${agent}-${pid}.sock`);

/** Where a run's agent finds the zygote that the agent before it left: only one that was started in the same way. */
export const zygotePath = (folder: string, agent: string, command: unknown): string =>
  join(tmpdir(), `tessera-${short(resolve(folder))}-${agent}-${short(JSON.stringify(command))}.sock`);
