import { hash32, isNumber, unitsOf } from "./units.ts";

/**
 * What a text is, from the text alone: language by the share of Han characters, family and difficulty by multinomial naive Bayes over
 * hashed features (words and pairs of words for the family; sizes for the difficulty). Small, exact in its arithmetic, trained in milliseconds; it is
 * measured against texts that it was not trained on.
 */
export type Classifier = {
  readonly labels: readonly string[];
  readonly prior: readonly number[];
  readonly weight: readonly Float64Array[];
};

const BUCKETS = 1 << 13;

export function trainClassifier(
  examples: readonly { readonly features: readonly string[]; readonly label: string }[],
): Classifier {
  const labels = [...new Set(examples.map(({ label }) => label))].sort();
  const counts = labels.map(() => new Float64Array(BUCKETS).fill(0.1));
  const prior = labels.map(() => 1);
  for (const { features, label } of examples) {
    const at = labels.indexOf(label);
    prior[at] = (prior[at] ?? 0) + 1;
    for (const feature of features) {
      const bucket = hash32(feature) % BUCKETS;
      const row = counts[at] as Float64Array;
      row[bucket] = (row[bucket] as number) + 1;
    }
  }
  const weight = counts.map((row) => {
    const total = row.reduce((sum, each) => sum + each, 0);
    return row.map((each) => Math.log(each / total));
  });
  return { labels, prior: prior.map((each) => Math.log(each / examples.length)), weight };
}

/** The likeliest label; with equal scores the one that sorts first. */
export function classify(classifier: Classifier, features: readonly string[]): string {
  const buckets = features.map((feature) => hash32(feature) % BUCKETS);
  let best = "";
  let top = Number.NEGATIVE_INFINITY;
  classifier.labels.forEach((label, i) => {
    const row = classifier.weight[i] as Float64Array;
    let score = classifier.prior[i] as number;
    for (const bucket of buckets) score += row[bucket] as number;
    if (score > top) {
      top = score;
      best = label;
    }
  });
  return best;
}

/** Words and neighbouring pairs, numbers masked. */
export function topicFeatures(text: string): string[] {
  const units = unitsOf(text).map((unit) => (isNumber(unit) ? "#" : unit));
  return units.flatMap((unit, i) => (i === 0 ? [unit] : [unit, `${units[i - 1]} ${unit}`]));
}

/** Sizes that grow with the task: how many numbers, how large, how long, each beside the family. */
export function sizeFeatures(text: string, family: string): string[] {
  const values = unitsOf(text)
    .filter(isNumber)
    .map((unit) => Number(unit.replaceAll(",", "")));
  const largest = values.length === 0 ? 0 : Math.max(...values);
  const over = values.filter((value) => value > 30).length;
  return [
    `${family} numbers ${values.length}`,
    `${family} numbers ${values.length}`,
    `${family} largest ${Math.floor(Math.log2(largest + 1) * 2)}`,
    `${family} over ${over}`,
    `${family} listed ${(text.match(/[,、]/g) ?? []).length}`,
    `${family} sentences ${(text.match(/[.。？?]/g) ?? []).length}`,
  ];
}

/** Chinese when at least a fifth of the letters are Han characters. */
export function languageOf(text: string): "en" | "zh" {
  const han = text.match(/\p{Script=Han}/gu)?.length ?? 0;
  const letters = text.match(/\p{L}/gu)?.length ?? 0;
  return letters > 0 && han / letters >= 0.2 ? "zh" : "en";
}

type Item = {
  readonly id: string;
  readonly problem: string;
  readonly family: string;
  readonly difficulty: number;
  readonly language: string;
};
export type ClassScreen<T> = {
  readonly kept: readonly T[];
  readonly dropped: readonly {
    readonly id: string;
    readonly reason: "family-disagrees" | "language-disagrees";
    readonly found: string;
  }[];
  /** Share of held-out texts, which the classifiers never saw, that are labelled as their generator says. */
  readonly accuracy: {
    readonly family: number;
    readonly difficulty: number;
    readonly language: number;
    readonly measuredOn: number;
  };
};

/** Labels every training text by classifiers trained on the other half, and takes out those whose text says another thing than their record. */
export function screenByClass<T extends Item>(train: readonly T[], heldout: readonly T[]): ClassScreen<T> {
  const halves = [train.filter((_item, i) => i % 2 === 0), train.filter((_item, i) => i % 2 === 1)];
  const trained = halves.map((half) =>
    trainClassifier(half.map((item) => ({ features: topicFeatures(item.problem), label: item.family }))),
  );
  const dropped: ClassScreen<T>["dropped"][number][] = [];
  const kept = train.filter((item, i) => {
    const language = languageOf(item.problem);
    const family = classify(trained[1 - (i % 2)] as Classifier, topicFeatures(item.problem));
    if (language !== item.language)
      dropped.push({ id: item.id, reason: "language-disagrees", found: language });
    else if (family !== item.family) dropped.push({ id: item.id, reason: "family-disagrees", found: family });
    else return true;
    return false;
  });
  return { kept, dropped, accuracy: measureClasses(train, heldout) };
}

/** Accuracy of family, difficulty (with the family as found) and language on texts that were not trained on. */
export function measureClasses(
  train: readonly Item[],
  heldout: readonly Item[],
): ClassScreen<Item>["accuracy"] {
  const families = trainClassifier(
    train.map((item) => ({ features: topicFeatures(item.problem), label: item.family })),
  );
  const sizes = trainClassifier(
    train.map((item) => ({
      features: sizeFeatures(item.problem, item.family),
      label: String(item.difficulty),
    })),
  );
  const right = { family: 0, difficulty: 0, language: 0 };
  for (const item of heldout) {
    const family = classify(families, topicFeatures(item.problem));
    if (family === item.family) right.family++;
    if (classify(sizes, sizeFeatures(item.problem, family)) === String(item.difficulty)) right.difficulty++;
    if (languageOf(item.problem) === item.language) right.language++;
  }
  const share = (count: number) => (heldout.length === 0 ? 0 : count / heldout.length);
  return {
    family: share(right.family),
    difficulty: share(right.difficulty),
    language: share(right.language),
    measuredOn: heldout.length,
  };
}
