import { err, ok, type Result, unwrap } from "../base/index.ts";
import {
  expertsFail,
  homesInTurn,
  homesOfTokens,
  joinScans,
  layerSlots,
  type Loads,
  loadsByNode,
  type NodeGroups,
  packSamples,
  type Placement,
  placeOnNodes,
  plainGroups,
  planNodes,
  type PreScan,
  readHashed,
  readTraces,
  remoteFrom,
  sampleRankLoads,
  scanOf,
  type Shape,
  sliceTrace,
  type Trace,
  windowLoads,
} from "../experts/index.ts";

/** Options of `tessera balance` that look ahead. */
export type ForesightOptions = {
  readonly trace?: string;
  readonly tokens?: string;
  readonly hashTable?: string;
  readonly window?: readonly [number, number];
  readonly coActivation?: boolean;
  readonly microBatches?: number;
};

/** The samples that a plan is made for. `length` is 0 where the trace says nothing of samples. */
export type Window = {
  readonly scan: PreScan;
  readonly length: number;
  readonly first: number;
  readonly samples: number;
};

const needs = (option: string, en: string, zh: string) =>
  expertsFail("EXPERTS_OPTION", { option, why: `${en} / ${zh}` });

/** Reads the pre-scan that the options name and cuts the window out of it; undefined where they name none. */
export function readWindow(
  options: ForesightOptions,
  read: (file: string) => string,
): Result<Window | undefined> {
  const { trace, tokens, hashTable } = options;
  if ((tokens === undefined) !== (hashTable === undefined)) {
    return err(needs(tokens ? "--tokens" : "--hash-table", "give both", "兩者都要給"));
  }
  let scan = trace === undefined ? undefined : unwrap(readTraces(read(trace), trace));
  if (tokens !== undefined && hashTable !== undefined) {
    const hashed = unwrap(readHashed(read(hashTable), read(tokens), hashTable, tokens));
    scan = scan ? unwrap(joinScans(scan, hashed)) : hashed;
  }
  const sampled = (["window", "microBatches"] as const).find((name) => options[name] !== undefined);
  const flag = sampled === "window" ? "--window" : "--micro-batches";
  if (!scan) {
    if (options.coActivation || sampled) {
      const option = options.coActivation ? "--co-activation" : flag;
      return err(needs(option, "needs --trace or --tokens", "需要 --trace 或 --tokens"));
    }
    return ok(undefined);
  }
  const length = scan.length ?? 0;
  const all = (scan.traces[0] as Trace).tokens;
  if (length === 0) {
    if (sampled) return err(needs(flag, 'needs "length" in the trace', '紀錄中需要 "length"'));
    return ok({ scan, length, first: 0, samples: 0 });
  }
  const [first, end] = options.window ?? [0, all / length];
  if (first >= end || end > all / length) {
    return err(needs("--window", `${first}:${end} of ${all / length} samples`, "樣本範圍不對"));
  }
  const traces = scan.traces.map((one) => sliceTrace(one, first * length, end * length));
  return ok({ scan: { ...scan, traces }, length, first, samples: end - first });
}

/** Loads of the window. */
export function loadsOf({ scan, length, samples }: Window): Result<Loads> {
  const each = length || (scan.traces[0] as Trace).tokens;
  const counts = scanOf(scan.ids, scan.traces, each);
  return windowLoads(
    counts,
    Array.from({ length: Math.max(1, samples) }, (_, n) => n),
  );
}

/** Remote nodes a token visits in the mean, layer by layer: experts in order and samples in turn, then as planned. */
export type Together = {
  readonly placement: Placement;
  readonly homes: Int32Array;
  readonly before: readonly number[];
  readonly after: readonly number[];
};

/** Experts that tokens choose together on one node, balanced inside the nodes; and the node of each sample. */
export function placeTogether(
  window: Window,
  loads: Loads,
  shape: Shape,
  goal: number,
  batch: number,
): Result<Together> {
  const { nodes, experts } = shape;
  const { scan } = window;
  if (nodes < 2 || experts % nodes !== 0) {
    return err(
      needs(
        "--co-activation",
        `needs --nodes > 1 that divide ${experts} experts`,
        "需要能整除專家數的 --nodes",
      ),
    );
  }
  if (shape.hierarchical || !shape.even) {
    return err(needs("--co-activation", "not with --groups, --speed or --slots-on", "不能與這些選項並用"));
  }
  const tokens = (scan.traces[0] as Trace).tokens;
  const length = window.length || 1;
  // Half of the spare slots serve tokens of other nodes' experts; the other half is for hot experts inside a node.
  const spare = Math.floor((shape.slots - experts) / nodes / 2);
  const { groups, homes } = planNodes(scan.traces, nodes, { length, batch, spare, homes: window.length > 0 });
  const slots = new Int32Array(loads.layers * shape.slots);
  for (let l = 0; l < loads.layers; l++) {
    const trace = scan.traces[l] as Trace;
    const group = groups[l] as NodeGroups;
    const served = loadsByNode(trace, group, homesOfTokens(trace, homes, length));
    const row = placeOnNodes(shape, served, group, goal);
    if (!row.ok) return row;
    slots.set(row.value, l * shape.slots);
  }
  const inOrder = plainGroups(
    Int32Array.from({ length: experts }, (_, e) => Math.floor((e * nodes) / experts)),
    nodes,
  );
  const turn = homesInTurn(tokens / length, nodes);
  return ok({
    placement: { ids: loads.ids, layers: loads.layers, shape, slots },
    homes,
    before: scan.traces.map((trace) => remoteFrom(trace, inOrder, homesOfTokens(trace, turn, length))),
    after: scan.traces.map((trace, l) =>
      remoteFrom(trace, groups[l] ?? inOrder, homesOfTokens(trace, homes, length)),
    ),
  });
}

/** Which samples share a micro-batch under a placement; with homes, every micro-batch keeps its samples of each node. */
export function packWindow(
  window: Window,
  placement: Placement,
  microBatches: number,
  homes?: Int32Array,
): Result<{ batches: number[][]; before: number; after: number }> {
  const { scan, samples, first } = window;
  if (samples % microBatches !== 0) {
    return err(needs("--micro-batches", `must divide ${samples} samples`, `須整除 ${samples} 個樣本`));
  }
  const rows = sampleRankLoads(
    scanOf(scan.ids, scan.traces, window.length),
    placement.shape,
    placement.ids.map((_, l) => layerSlots(placement, l)),
  );
  const packed = packSamples(rows, placement.shape.ranks, microBatches, homes ? { kinds: homes } : {});
  const mean = rows.reduce((all, row) => all + row.reduce((sum, w) => sum + w, 0), 0) / placement.shape.ranks;
  return ok({
    batches: packed.batches.map((batch) => batch.map((n) => n + first)),
    before: packed.before / mean,
    after: packed.after / mean,
  });
}
