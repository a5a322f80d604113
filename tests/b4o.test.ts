import { expect, test } from "vitest";
import { solveB4o } from "../src/domains/or/index.ts";
import { sharedFolder } from "./shared.ts";

const folder = sharedFolder("data", "b4o_feasible");

// Registered only where the published files are: they are optional input.
if (folder !== undefined) {
  const test344 = (name: string, run: () => Promise<void>) => test(name, { timeout: 900_000 }, run);
  test344(
    "the published LPs reproduce at least 338 of the 344 stated optima, the rest are named with the reason",
    async () => {
      const outcomes = await solveB4o(folder, { threads: 1 });
      expect(outcomes.length).toBe(344);
      const rest = outcomes.filter(({ outcome }) => outcome !== "reproduced");
      expect(outcomes.length - rest.length).toBeGreaterThanOrEqual(338);
      for (const each of rest)
        expect(each).toMatchObject({
          outcome: "unsolved",
          reason: expect.stringMatching(/products of variables|not convex/),
        });
    },
  );
} else {
  test("without the published files there is nothing to solve here", () => {
    expect(sharedFolder("data", "b4o_feasible")).toBeUndefined();
  });
}
