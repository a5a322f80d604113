import { isNumber, unitsOf } from "./units.ts";

/**
 * Keeps the held-out set out of the training set. A training sample goes if
 *  - its parameters are those of a held-out one (same numbers and structure in another dress), or
 *  - it shares a run of `n` units with a held-out text that holds at least `numbers` numbers and occurs in no more than `documentLimit` texts.
 * The last two limits are there because sentence frames are shared by design: without them a plain n-gram rule would call every
 * second sample leaked for a stock phrase.
 */
export type DecontaminateOptions = {
  readonly n: number;
  readonly numbers: number;
  readonly documentLimit: number;
};
export type Leak = {
  readonly id: string;
  readonly reason: "same-parameters" | "shared-text";
  readonly of: string;
};
type Item = { readonly id: string; readonly problem: string; readonly parametersHash: string };

export function findLeaks(
  train: readonly Item[],
  heldout: readonly Item[],
  options: DecontaminateOptions,
): Leak[] {
  const parameters = new Map(heldout.map((item) => [item.parametersHash, item.id]));
  const owners = new Map<string, string>();
  const frequency = new Map<string, number>();
  for (const item of heldout) {
    for (const gram of gramsOf(item.problem, options)) {
      if (!owners.has(gram)) owners.set(gram, item.id);
      frequency.set(gram, (frequency.get(gram) ?? 0) + 1);
    }
  }
  const hits = train.map((item) => [...gramsOf(item.problem, options)].filter((gram) => owners.has(gram)));
  for (const grams of hits) for (const gram of grams) frequency.set(gram, (frequency.get(gram) ?? 0) + 1);
  return train.flatMap((item, i): Leak[] => {
    const same = parameters.get(item.parametersHash);
    if (same !== undefined) return [{ id: item.id, reason: "same-parameters", of: same }];
    const gram = hits[i]?.find((each) => (frequency.get(each) ?? 0) <= options.documentLimit);
    return gram === undefined ? [] : [{ id: item.id, reason: "shared-text", of: owners.get(gram) as string }];
  });
}

function gramsOf(text: string, { n, numbers }: DecontaminateOptions): Set<string> {
  const units = unitsOf(text);
  const out = new Set<string>();
  let inside = 0;
  for (let i = 0; i < units.length; i++) {
    if (isNumber(units[i] as string)) inside++;
    if (i >= n && isNumber(units[i - n] as string)) inside--;
    if (i >= n - 1 && inside >= numbers) out.add(units.slice(i - n + 1, i + 1).join(" "));
  }
  return out;
}
