import { EXIT, say } from "../../base/index.ts";
import { allChecks } from "../checks.ts";
import type { Verb } from "../context.ts";
import { table } from "../table.ts";

const MARK = { good: "✓", weak: "!", missing: "✗" } as const;

/** What is there, what is missing, and the command that mends it. */
export const doctor: Verb = {
  name: "doctor",
  summary: { en: "check this machine and say how to mend what is missing", zh: "檢查本機，並指出如何補齊" },
  define(command, act) {
    command.action(() =>
      act(async (context) => {
        const checks = await allChecks(context);
        const missing = checks.filter((one) => one.state === "missing");
        context.data({ schema: "tessera.doctor/v1", ok: missing.length === 0, checks });
        context.out(
          table(
            [
              { title: "" },
              { title: "" },
              { title: context.say({ en: "found", zh: "現況" }) },
              { title: context.say({ en: "mend", zh: "補救" }) },
            ],
            checks.map((one) => [
              MARK[one.state],
              one.name,
              one.found,
              one.mend ? say(one.mend, context.lang) : "",
            ]),
          ),
        );
        context.talk(
          missing.length === 0
            ? context.say({ en: "ready", zh: "就緒" })
            : context.say({ en: "{count} missing", zh: "缺少 {count} 項" }, { count: missing.length }),
        );
        return missing.length === 0 ? EXIT.done : EXIT.environment;
      }),
    );
  },
};
