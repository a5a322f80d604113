import { hash32 } from "./units.ts";

/**
 * Takes `count` samples in a mix: every cell (family x difficulty x language) gets its share by largest remainder, and within a cell
 * wordings take turns, so that variety is a constraint and no hope. A cell that is too small gives its places to the others, and
 * the shortage is reported.
 */
export type Mix = {
  /** Shares by name, they need not sum to one; absent means equal. */
  readonly families?: Readonly<Record<string, number>> | undefined;
  readonly difficulties?: Readonly<Record<string, number>> | undefined;
  readonly languages?: Readonly<Record<string, number>> | undefined;
};
type Item = {
  readonly id: string;
  readonly family: string;
  readonly difficulty: number;
  readonly language: string;
  readonly wording: string;
};
export type Selection<T> = {
  readonly chosen: readonly T[];
  readonly cells: readonly {
    readonly cell: string;
    readonly wanted: number;
    readonly had: number;
    readonly taken: number;
  }[];
};

export function selectMix<T extends Item>(
  items: readonly T[],
  count: number,
  mix: Mix,
  seed: number,
): Selection<T> {
  const cells = new Map<string, T[]>();
  for (const item of items) {
    const key = `${item.family}/${item.difficulty}/${item.language}`;
    const cell = cells.get(key);
    if (cell) cell.push(item);
    else cells.set(key, [item]);
  }
  const keys = [...cells.keys()].sort();
  const weights = keys.map((key) => {
    const [family, difficulty, language] = key.split("/") as [string, string, string];
    return share(mix.families, family) * share(mix.difficulties, difficulty) * share(mix.languages, language);
  });
  const wanted = apportion(weights, count);
  const ordered = keys.map((key) => inTurns(cells.get(key) ?? [], seed));
  const taken = wanted.map((want, i) => Math.min(want, ordered[i]?.length ?? 0));
  // Places that small cells could not fill go round the cells of positive weight that still have samples.
  let open = count - taken.reduce((sum, each) => sum + each, 0);
  for (let moved = true; open > 0 && moved; ) {
    moved = false;
    for (let i = 0; i < keys.length && open > 0; i++) {
      if ((weights[i] as number) > 0 && (taken[i] as number) < (ordered[i]?.length ?? 0)) {
        taken[i] = (taken[i] as number) + 1;
        open--;
        moved = true;
      }
    }
  }
  return {
    chosen: ordered.flatMap((cell, i) => cell.slice(0, taken[i])),
    cells: keys.map((cell, i) => ({
      cell,
      wanted: wanted[i] as number,
      had: ordered[i]?.length ?? 0,
      taken: taken[i] as number,
    })),
  };
}

const share = (shares: Readonly<Record<string, number>> | undefined, name: string): number =>
  shares ? (shares[name] ?? 0) : 1;

/** Whole numbers that sum to `count` and follow the weights: largest remainder, ties to the earlier. */
export function apportion(weights: readonly number[], count: number): number[] {
  const total = weights.reduce((sum, each) => sum + each, 0);
  if (total <= 0) return weights.map(() => 0);
  const exact = weights.map((each) => (each / total) * count);
  const out = exact.map(Math.floor);
  const order = exact
    .map((each, i) => [each - Math.floor(each), i] as const)
    .sort((a, b) => b[0] - a[0] || a[1] - b[1]);
  let open = count - out.reduce((sum, each) => sum + each, 0);
  for (const [, i] of order) {
    if (open-- <= 0) break;
    out[i] = (out[i] as number) + 1;
  }
  return out;
}

/** First the first of every wording, then the second of every wording ...; within a wording by a seeded hash of the id. */
function inTurns<T extends Item>(items: readonly T[], seed: number): T[] {
  const rank = (item: T) => hash32(`${seed}/${item.id}`);
  const sorted = [...items].sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
  const seen = new Map<string, number>();
  const turn = new Map<T, number>();
  for (const item of sorted) {
    const times = seen.get(item.wording) ?? 0;
    turn.set(item, times);
    seen.set(item.wording, times + 1);
  }
  return sorted.sort((a, b) => (turn.get(a) as number) - (turn.get(b) as number));
}
