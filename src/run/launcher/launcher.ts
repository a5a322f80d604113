import type { AgentConfig } from "../agent/config.ts";

/** Starts agents where the ranks shall be: on this machine, by `srun`, as a pod. */
export type Launcher = {
  /** Agents' names and how many ranks each can hold. */
  readonly nodes: readonly { readonly agent: string; readonly ranks: number }[];
  /** Starts an agent that must outlive the caller. `onExit` is called if its end becomes known; null: it left the node to another one. */
  start(config: AgentConfig, onExit: (why: string | null) => void): void;
  /** Is that agent's process running? Undefined: it cannot be known from here, only by its silence. */
  alive(folder: string, agent: string): boolean | undefined;
  /** Ends an agent at once, and with it its ranks. The zygote may stay for the next agent, for as long as its patience lasts. */
  kill(folder: string, agent: string): void;
  /** Ends an agent with all that it or those before it started, at once. */
  clear(folder: string, agent: string): void;
  /** Is anything that `clear` would end still there? */
  remains(folder: string, agent: string): boolean;
};
