/** Series store: appending, reading and reducing one million scalars. Run: node_modules/.bin/node bench/store.ts */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { bucketize, readSeries, SeriesWriter } from "../src/store/index.ts";

const n = 1_000_000;
const folder = mkdtempSync(join(tmpdir(), "tessera-bench-"));
const timed = <T>(name: string, work: () => T): T => {
  const start = performance.now();
  const result = work();
  console.log(`${name.padEnd(44)} ${(performance.now() - start).toFixed(1).padStart(8)} ms`);
  return result;
};
try {
  console.log(`${cpus()[0]?.model ?? "unknown processor"}, Node ${process.version}, ${n} values`);
  timed("append, one flush per 1,000 values, one sync", () => {
    const writer = SeriesWriter.open(folder);
    for (let step = 0; step < n; step++) {
      writer.append("loss", step, step, Math.sin(step));
      if (step % 1000 === 999) writer.flush();
    }
    writer.close();
  });
  console.log(`${(statSync(join(folder, "000001.series")).size / n).toFixed(2)} bytes a value`);
  const series = timed("read and check", () => readSeries(folder).scalar("loss"));
  timed("reduce to 1,200 buckets", () => bucketize(series.step, series.value, 1200));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
