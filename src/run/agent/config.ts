import type { ZygoteCommand } from "./zygote.ts";

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
  readonly ranks: readonly { readonly pid: number; readonly startTime: string }[];
};

/** Exit code of an agent that found another one at work for the same node. */
export const AGENT_DOUBLE = 17;
