import { readFileSync } from "node:fs";
import { paths } from "../paths.ts";
import { endGroup, type ProcessId, signalProcess } from "../processes.ts";
import type { ZygoteCommand, ZygoteNote } from "./zygote.ts";

/** What an agent is told when it is started; no secret in it, for it stands on a command line. */
export type AgentConfig = {
  readonly folder: string;
  readonly agent: string;
  readonly instance: number;
  /** Address at which the other nodes reach rank 0 if it is here. */
  readonly host: string;
  readonly zygote: ZygoteCommand;
  readonly beatSeconds: number;
  /** With no rank alive and no controller for this long, the agent spools what it kept and ends. */
  readonly orphanSeconds: number;
};

/** What an agent notes about itself, so that a later one and a later controller find it and its ranks. */
export type AgentFile = {
  readonly pid: number;
  readonly startTime: string;
  readonly instance: number;
  readonly ranks: readonly ProcessId[];
  readonly zygote: ZygoteNote | null;
};

/** What the agent of a run noted about itself; nothing before its first note. */
export function readAgentFile(folder: string, agent: string): AgentFile | undefined {
  try {
    return JSON.parse(readFileSync(paths(folder).agentFile(agent), "utf8")) as AgentFile;
  } catch {
    return undefined;
  }
}

/** Ends an agent, its zygote and all ranks at once. */
export function endAgent(file: AgentFile): void {
  if (file.zygote) signalProcess(file.zygote, "SIGKILL");
  endGroup(file);
}

/** Exit code of an agent that found another one at work for the same node. */
export const AGENT_DOUBLE = 17;
