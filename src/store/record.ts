import { decodeArray, known, number, type WorkerMessage } from "../run/index.ts";
import type { SeriesSink } from "./source.ts";

/**
 * Series of a worker's message; messages that measure nothing leave none.
 *
 *   loss, mainLoss, mtpLoss, indexerLoss, gradNorm, learningRate, tokens, seconds, throughput    from rank 0 (values of the whole run)
 *   rank<r>/seconds, rank<r>/span/<name>, rank<r>/memory/<name>                                   from every rank
 *   load/<layer>   1 x experts, tokens per expert                                                 from one rank a stage
 */
export function recordMessage(sink: SeriesSink, message: WorkerMessage): void {
  const told = known(message);
  if (!told) return;
  const { step, t, rank } = told;
  if (told.kind === "load") {
    const counts = decodeArray(told.counts);
    const [layers = 0, experts = 0] = counts?.shape ?? [];
    if (!counts || counts.shape.length !== 2 || layers !== told.layers.length) return;
    for (const [row, layer] of told.layers.entries()) {
      const values = Int32Array.from(counts.values.slice(row * experts, (row + 1) * experts));
      sink.appendMatrix(`load/${layer}`, step, t, 1, experts, values);
    }
    return;
  }
  if (told.kind !== "step") return;
  const seconds = number(told.seconds);
  sink.append(`rank${rank}/seconds`, step, t, seconds);
  for (const [kind, values] of Object.entries({ span: told.spans, memory: told.memory })) {
    for (const [name, value] of Object.entries(values ?? {})) {
      sink.append(`rank${rank}/${kind}/${name}`, step, t, number(value));
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
    if (value !== undefined) sink.append(name, step, t, number(value));
  }
  sink.append("seconds", step, t, seconds);
  if (seconds > 0) sink.append("throughput", step, t, told.tokens / seconds);
}
