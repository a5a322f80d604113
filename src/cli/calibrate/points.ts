import { bodyWeights, type Model, moeOf } from "../../model/index.ts";

/** What a rank is asked to run: the fields of `engine/tessera_engine/calibrate.py`. */
export type Point = {
  readonly op: string;
  /** Between how many ranks, and how far apart they lie; only for collectives. */
  readonly size?: number;
  readonly stride?: number;
  /** Ranks that are there, where it is not all of the node. */
  readonly world?: number;
  readonly [field: string]: unknown;
};

export type Machine = {
  /** Ranks of a node in training; kernels are measured on `together` of them at once. */
  readonly ranks: number;
  readonly type: string;
  /** Cores that the ranks share, where they are processes that compute on them; null on accelerators. */
  readonly cores: number | null;
};

/** Tokens of one micro-batch on one rank, and of its sequences. */
export type Shapes = { readonly sequence: number; readonly microBatch: number };

const KIND = ["allGather", "reduceScatter", "allReduce", "allToAll", "broadcast"] as const;

/** The identity of a point: equal keys are the same measurement. */
export const keyOf = (point: Point): string =>
  JSON.stringify(Object.fromEntries(Object.entries(point).sort(([a], [b]) => (a < b ? -1 : 1))));

/** A point for a person: its kind and its plain dimensions. */
export function shortName(key: string): string {
  const { op, part, ...rest } = JSON.parse(key) as Record<string, unknown>;
  const sizes = Object.entries(rest).flatMap(([name, value]) =>
    typeof value === "number" ? [`${name} ${value}`] : [],
  );
  return [String(op), ...(typeof part === "string" ? [part] : []), ...sizes].join(" ");
}

/**
 * What to measure, most telling first: rounds over the kinds, each kind from coarse to fine, so that a budget that ends early leaves
 * a usable profile. With a model its own shapes lead, without one general ones stand in.
 */
export function planPoints(machine: Machine, model: Model | null, shapes: Shapes): Point[] {
  const dtypes = machine.type === "cpu" ? ["float32"] : ["bfloat16", "float32"];
  const tokens = shapes.sequence * shapes.microBatch;
  const kinds = [
    [{ op: "launch", elements: 1 }],
    spread(
      dtypes.flatMap((dtype) => gemms(model, tokens).map(([m, n, k]) => ({ op: "gemm", m, n, k, dtype }))),
    ),
    spread(
      dtypes.flatMap((dtype) =>
        grouped(machine, model, tokens).map(([groups, m, n, k]) => ({
          op: "grouped",
          groups,
          m,
          n,
          k,
          dtype,
        })),
      ),
    ),
    attentions(model, shapes, dtypes[0] as string),
    streams(model, tokens, dtypes[0] as string),
    [1 << 12, 1 << 18, 1 << 23].flatMap((elements) =>
      ["device", "host"].map((to) => ({ op: "copy", to, elements, dtype: "float32" })),
    ),
    // Fewer ranks than cores do not take turns, so that what they exchange is another measurement.
    smallerWorld(machine).flatMap((world) => collectives(world).map((point) => ({ ...point, world }))),
    collectives(machine.ranks),
  ];
  const out: Point[] = [];
  const seen = new Set<string>();
  for (let round = 0; kinds.some((kind) => kind.length > round); round++) {
    for (const kind of kinds) {
      const point = kind[round];
      const key = point && keyOf(point);
      if (point && key && !seen.has(key)) {
        seen.add(key);
        out.push(point);
      }
    }
  }
  return out;
}

/** The ranks that have a core each, where not all do and there are several. */
export const smallerWorld = ({ ranks, cores }: Machine): number[] =>
  cores !== null && cores >= 2 && cores < ranks ? [cores] : [];

/** First, last, middle, then the rest: a list that is cut short still covers its range. */
function spread<T>(list: readonly T[]): T[] {
  const out: T[] = [];
  const taken = new Set<number>();
  for (let step = list.length; step >= 1; step = step === 1 ? 0 : Math.ceil(step / 2)) {
    for (let at = 0; at < list.length; at += step) {
      if (!taken.has(at)) out.push(list[at] as T);
      taken.add(at);
    }
  }
  return out;
}

function gemms(model: Model | null, tokens: number): [number, number, number][] {
  const grid: [number, number, number][] = [64, 256, 1024, 2048].flatMap((m) =>
    [64, 256, 1024].map((n): [number, number, number] => [m, n, n === 64 ? 1024 : 256]),
  );
  if (!model) return grid;
  const wide = new Set<string>();
  const own: [number, number, number][] = [];
  const lists = [...new Set(model.layers.map(({ body }) => body))].map(bodyWeights);
  for (const weight of [...lists.flat(), ...model.head.weights]) {
    if (weight.use !== "linear" || weight.cut.kind === "expert" || weight.shape.length !== 2) continue;
    const [n, k] = weight.shape as [number, number];
    if (wide.has(`${n}/${k}`)) continue;
    wide.add(`${n}/${k}`);
    // Forward, gradient of the input, gradient of the weight.
    own.push([tokens, n, k], [tokens, k, n], [n, k, tokens], [Math.ceil(tokens / 4), n, k]);
  }
  return [...own.sort((a, b) => a[0] * a[1] * a[2] - b[0] * b[1] * b[2]), ...grid];
}

function grouped(machine: Machine, model: Model | null, tokens: number): [number, number, number, number][] {
  const moe = model?.layers.map(({ body }) => moeOf(body)).find((spec) => spec !== undefined);
  const [experts, topK, hidden, width] = moe
    ? [moe.experts, moe.topK, moe.expertHidden, moe.width]
    : [16, 2, 512, 256];
  const counts = [...new Set([1, 2, machine.ranks].map((ep) => Math.max(1, Math.floor(experts / ep))))];
  return counts.flatMap((groups) =>
    [1, 4, 16].flatMap((less) => {
      const m = Math.max(1, Math.round((tokens * topK) / experts / less));
      return [
        [groups, m, 2 * width, hidden] as [number, number, number, number],
        [groups, m, hidden, width] as [number, number, number, number],
      ];
    }),
  );
}

function attentions(model: Model | null, { sequence, microBatch }: Shapes, dtype: string): Point[] {
  const spec = model?.layers[0]?.body.sublayers.find(({ role }) => role === "attention")?.spec;
  const heads = spec && "heads" in spec ? spec.heads : 8;
  const dim = spec && "headDim" in spec ? spec.headDim : 64;
  return [sequence, Math.max(16, sequence / 4), sequence / 2].flatMap((length) =>
    [microBatch, 4 * microBatch].flatMap((rows) =>
      ["attention", "attentionBackward"].map((op) => ({
        op,
        rows,
        heads,
        sequence: Math.max(16, Math.round(length)),
        dim,
        dtype,
      })),
    ),
  );
}

function streams(model: Model | null, tokens: number, dtype: string): Point[] {
  const width = model?.hidden ?? 512;
  return [tokens, Math.ceil(tokens / 16), 4 * tokens].flatMap((rows) =>
    ["norm", "activation", "add"].map((op) => ({ op, elements: rows * width, width, dtype })),
  );
}

/** Every way to cut the ranks of a node into equal groups of neighbours or of ranks that lie apart. */
function collectives(ranks: number): Point[] {
  const groups: [number, number][] = [];
  for (let size = ranks; size >= 2; size--) {
    if (ranks % size !== 0) continue;
    for (let stride = 1; stride * size <= ranks; stride++) {
      if (ranks % (stride * size) === 0) groups.push([size, stride]);
    }
  }
  const sizes = [4, 20, 12, 16, 23].map((power) => 2 ** power);
  const out: Point[] = [];
  for (const elements of sizes) {
    for (const [size, stride] of groups) {
      for (const op of KIND) out.push({ op, size, stride, elements: size * Math.ceil(elements / size) });
      if (size === 2) out.push({ op: "message", size, stride, elements });
    }
  }
  return out;
}
