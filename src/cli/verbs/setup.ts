import { spawn } from "node:child_process";
import { join } from "node:path";
import { EXIT } from "../../base/index.ts";
import { ROOT } from "../../run/index.ts";
import type { Verb } from "../context.ts";

/** Installs what is missing: npm packages and the Python environment. What installers say goes to stderr. */
export const setup: Verb = {
  name: "setup",
  summary: {
    en: "install what is missing (npm packages, Python environment)",
    zh: "安裝缺少的部分（npm 套件、Python 環境）",
  },
  define(command, act) {
    command
      .option("--dev", "with the tools for tests and checks", false)
      .action((options: { dev: boolean }) =>
        act(async (context) => {
          const task = options.dev ? "setup-dev" : "setup";
          const child = spawn(process.execPath, [join(ROOT, "scripts", "bootstrap.mjs"), task], {
            cwd: ROOT,
            stdio: ["ignore", 2, 2],
          });
          const code = await new Promise<number>((resolve) => {
            child.on("error", () => resolve(EXIT.environment));
            child.on("exit", (exit) => resolve(exit ?? EXIT.environment));
          });
          context.data({ schema: "tessera.setup/v1", ok: code === 0 });
          return code === 0 ? EXIT.done : EXIT.environment;
        }),
      );
  },
};
