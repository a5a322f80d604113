import { defineConfig } from "vitest/config";

/** Unit tests stand beside the code; tests/ holds whole-process tests, which share two cores and so run one file at a time. */
export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["src/**/*.test.ts", "web/**/*.test.ts"], testTimeout: 60_000 } },
      {
        test: {
          name: "process",
          include: ["tests/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
