import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname, join } from "node:path";
import { AGENT_DOUBLE, type AgentConfig, endAgent, readAgentFile } from "../agent/config.ts";
import { paths } from "../paths.ts";
import { endGroup, isAlive, processId, type ProcessId } from "../processes.ts";
import type { Launcher } from "./launcher.ts";

const MAIN = join(import.meta.dirname, "..", "agent", "main.ts");

/** Agents as processes of this machine, each in a session of its own so that a Ctrl-C or our end does not reach it. */
export function localLauncher(nodes: Launcher["nodes"]): Launcher {
  // An agent takes a moment until it has noted itself: those started here are known from the first.
  const started = new Map<string, ProcessId>();
  const known = (folder: string, agent: string): ProcessId[] =>
    [started.get(agent), readAgentFile(folder, agent)].filter((one) => one !== undefined).filter(isAlive);
  return {
    nodes,
    start(config: AgentConfig, onExit) {
      const log = paths(config.folder).agentLog(config.agent);
      mkdirSync(dirname(log), { recursive: true });
      const fd = openSync(log, "a");
      const child = spawn(process.execPath, [MAIN, JSON.stringify(config)], {
        detached: true,
        stdio: ["ignore", fd, fd],
      });
      closeSync(fd);
      if (child.pid !== undefined) started.set(config.agent, processId(child.pid));
      child.on("error", (cause) => onExit(cause.message));
      child.on("exit", (code, signal) => {
        const why = signal ? `ended by ${signal}` : `ended with exit code ${code}`;
        onExit(code === AGENT_DOUBLE ? null : why);
      });
      child.unref();
    },
    alive: (folder, agent) => known(folder, agent).length > 0,
    kill(folder, agent) {
      for (const leader of known(folder, agent)) endGroup(leader);
    },
    clear(folder, agent) {
      const file = readAgentFile(folder, agent);
      for (const leader of known(folder, agent)) endGroup(leader);
      if (file) endAgent(file);
    },
    remains(folder, agent) {
      const zygote = readAgentFile(folder, agent)?.zygote;
      return known(folder, agent).length > 0 || (zygote ? isAlive(zygote) : false);
    },
  };
}
