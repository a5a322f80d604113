import { decodeArray, known, number, readTelemetry, type WorkerMessage } from "../run/index.ts";
import { MemorySeries } from "./source.ts";

/** All series of a run as they are now, from the telemetry in its `series` folder. A folder that is not there holds none. */
export function readSeries(folder: string): MemorySeries {
  const series = new MemorySeries();
  for (const message of readTelemetry(folder)) recordMessage(series, message);
  return series;
}

/**
 * Series of a worker's message; messages that measure nothing leave none.
 *
 *   loss, mainLoss, mtpLoss, indexerLoss, gradNorm, learningRate, tokens, seconds, throughput    from rank 0 (values of the whole run)
 *   rank<r>/seconds, rank<r>/span/<name>, rank<r>/memory/<name>                                   from every rank
 *   load/<layer>   1 x experts, tokens per expert                                                 from one rank a stage
 */
export function recordMessage(series: MemorySeries, message: WorkerMessage): void {
  const told = known(message);
  if (!told) return;
  const { step, t, rank } = told;
  if (told.kind === "load") {
    const counts = decodeArray(told.counts);
    const [layers = 0, experts = 0] = counts?.shape ?? [];
    if (!counts || counts.shape.length !== 2 || layers !== told.layers.length) return;
    for (const [row, layer] of told.layers.entries()) {
      const values = Int32Array.from(counts.values.slice(row * experts, (row + 1) * experts));
      series.appendMatrix(`load/${layer}`, step, t, 1, experts, values);
    }
    return;
  }
  if (told.kind !== "step") return;
  const seconds = number(told.seconds);
  series.append(`rank${rank}/seconds`, step, t, seconds);
  for (const [kind, values] of Object.entries({ span: told.spans, memory: told.memory })) {
    for (const [name, value] of Object.entries(values ?? {})) {
      series.append(`rank${rank}/${kind}/${name}`, step, t, number(value));
    }
  }
  if (rank !== 0) return;
  for (const name of [
    "loss",
    "mainLoss",
    "mtpLoss",
    "indexerLoss",
    "gradNorm",
    "learningRate",
    "tokens",
  ] as const) {
    const value = told[name];
    if (value !== undefined) series.append(name, step, t, number(value));
  }
  series.append("seconds", step, t, seconds);
  if (seconds > 0) series.append("throughput", step, t, told.tokens / seconds);
}
