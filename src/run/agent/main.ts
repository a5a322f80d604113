/** Process of one agent: `node main.ts '<AgentConfig as JSON>'`. Started by a launcher, one for each node of a run. */
import { type Lock, tryLock } from "../lock.ts";
import { paths } from "../paths.ts";
import { Agent } from "./agent.ts";
import { AGENT_DOUBLE, type AgentConfig } from "./config.ts";

const config = JSON.parse(process.argv[2] ?? "") as AgentConfig;
const lock = await lockSoon(paths(config.folder).agentLock(config.agent));
if (!lock) process.exit(AGENT_DOUBLE);

// A Ctrl-C on the terminal is the controller's to answer; the terminal's end is nobody's.
for (const signal of ["SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined);
const agent = new Agent(config, (code) => {
  lock.release();
  process.exit(code);
});
process.on("SIGTERM", () => void agent.quit(0));
await agent.listen();

/** The agent before may be dying: its lock is free when the kernel is through with it. */
async function lockSoon(path: string): Promise<Lock | undefined> {
  for (let tries = 0; tries < 40; tries++) {
    const got = tryLock(path);
    if (got) return got;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return undefined;
}
