// All tests, TypeScript and Python, in one command; the last line is the sum that CI reads.
import { spawnSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, python, root } from "./bootstrap.mjs";

const folder = mkdtempSync(join(tmpdir(), "tessera-test-"));
const only = process.argv.slice(2);
const browserTests = globSync("{src,web,tests}/**/*.browser.test.ts", { cwd: root });
const noBrowser = chromium() === undefined;
if (noBrowser)
  console.error(
    `no Chromium: ${browserTests.length} files of browser tests are skipped (Debian: apt-get install chromium)`,
  );
const sum = { passed: 0, failed: 0, skipped: noBrowser ? browserTests.length : 0 };
try {
  const report = join(folder, "vitest.json");
  const vitest = spawnSync(
    process.execPath,
    [
      join(root, "node_modules/vitest/vitest.mjs"),
      "run",
      "--reporter=default",
      "--reporter=json",
      `--outputFile=${report}`,
      ...(noBrowser ? ["--exclude=**/*.browser.test.ts"] : []),
      ...only,
    ],
    { cwd: root, stdio: "inherit" },
  );
  const hidden = countVitest(report);
  // A file that did not load fails the run without a failed test to show for it.
  if (vitest.status !== 0) sum.failed += hidden;
  if (only.length === 0) {
    const xml = join(folder, "pytest.xml");
    const pytest = spawnSync(python, ["-m", "pytest", "-q", `--junitxml=${xml}`, "engine/tests"], {
      cwd: root,
      stdio: "inherit",
    });
    countPytest(xml, pytest.status);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${sum.passed} passed, ${sum.failed} failed${sum.skipped ? `, ${sum.skipped} skipped` : ""}`);
process.exitCode = sum.failed === 0 && sum.passed > 0 ? 0 : 1;

/** Adds Vitest's counts; returns 1 if the run failed without any failed test to show for it (a file that did not load). */
function countVitest(path) {
  try {
    const json = JSON.parse(readFileSync(path, "utf8"));
    sum.passed += json.numPassedTests;
    sum.failed += json.numFailedTests;
    sum.skipped += json.numPendingTests + json.numTodoTests;
    return json.numFailedTests > 0 ? 0 : 1;
  } catch {
    return 1;
  }
}

function countPytest(path, status) {
  let failed = 0;
  try {
    const suite = /<testsuite [^>]*>/.exec(readFileSync(path, "utf8"))?.[0] ?? "";
    const count = (name) => Number(new RegExp(`${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
    failed = count("failures") + count("errors");
    sum.skipped += count("skipped");
    sum.passed += count("tests") - failed - count("skipped");
  } catch {
    failed = 0;
  }
  sum.failed += status !== 0 && failed === 0 ? 1 : failed;
}
