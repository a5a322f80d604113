import { spawn } from "node:child_process";
import { mkdirSync, openSync, readFileSync, closeSync } from "node:fs";
import { dirname, join } from "node:path";
import { AGENT_DOUBLE, type AgentConfig, type AgentFile } from "../agent/config.ts";
import { paths } from "../paths.ts";
import { isAlive } from "../processes.ts";
import type { Launcher } from "./launcher.ts";

const MAIN = join(import.meta.dirname, "..", "agent", "main.ts");

/** Agents as processes of this machine, each in a session of its own so that a Ctrl-C or our end does not reach it. */
export function localLauncher(nodes: Launcher["nodes"]): Launcher {
  return {
    nodes,
    start(config: AgentConfig, onExit) {
      // An agent that an interrupted controller left without ranks has nothing to take over; two of them would wait for each other.
      const left = agentFile(config.folder, config.agent);
      if (left && left.ranks.length === 0 && isAlive(left)) {
        try {
          process.kill(-left.pid, "SIGKILL");
        } catch {
          // It ended by itself in the meantime.
        }
      }
      const log = paths(config.folder).agentLog(config.agent);
      mkdirSync(dirname(log), { recursive: true });
      const fd = openSync(log, "a");
      const child = spawn(process.execPath, [MAIN, JSON.stringify(config)], {
        detached: true,
        stdio: ["ignore", fd, fd],
      });
      closeSync(fd);
      child.on("error", (cause) => onExit(cause.message));
      child.on("exit", (code, signal) => {
        // Another one is at work and will join.
        if (code !== AGENT_DOUBLE) onExit(signal ? `ended by ${signal}` : `ended with exit code ${code}`);
      });
      child.unref();
    },
    alive(folder, agent) {
      const file = agentFile(folder, agent);
      return file !== undefined && isAlive(file);
    },
    kill(folder, agent) {
      const file = agentFile(folder, agent);
      if (!file) return;
      if (isAlive(file)) {
        try {
          process.kill(-file.pid, "SIGKILL");
        } catch {
          return;
        }
      }
    },
  };
}

/** What the agent noted about itself; nothing before its first note. */
function agentFile(folder: string, agent: string): AgentFile | undefined {
  try {
    return JSON.parse(readFileSync(paths(folder).agentFile(agent), "utf8")) as AgentFile;
  } catch {
    return undefined;
  }
}
