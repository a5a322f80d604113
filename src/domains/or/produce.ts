import { Random } from "../../base/index.ts";
import { hashJson } from "../../base/node.ts";
import { identify, type Sample } from "../../data/index.ts";
import { FAMILIES } from "./families/index.ts";
import { judge, type Rejection } from "./gate.ts";
import { Solver } from "./solver.ts";
import { type Difficulty, type Language, Teller } from "./teller.ts";

export type ProduceOptions = {
  readonly seed: number;
  /** Accepted problems wanted. */
  readonly count: number;
  /** Names of families; default all. */
  readonly families?: readonly string[];
  /** Shares of the difficulties 1, 2, 3. */
  readonly difficulties?: readonly [number, number, number];
  /** Share of Chinese problems. */
  readonly chinese?: number;
};

export type Rejected = {
  readonly id: string;
  readonly family: string;
  readonly reason: Rejection;
  readonly detail: string;
};
export type Produced = {
  readonly accepted: readonly Sample[];
  readonly rejected: readonly Rejected[];
  readonly attempts: number;
};

/**
 * Problem number `index` of a seed: the same on every machine and in any order, so that work can be cut into ranges.
 * Families, difficulties and languages follow low-discrepancy turns, so every prefix has about the mix that was asked for.
 */
export function draftAt(index: number, options: ProduceOptions) {
  const families = options.families
    ? FAMILIES.filter((family) => options.families?.includes(family.name))
    : FAMILIES;
  const family = families[index % families.length];
  if (!family) throw new RangeError("no family of that name");
  const random = new Random(`or/${options.seed}/${index}`);
  const language: Language = random.next() < (options.chinese ?? 0.4) ? "zh" : "en";
  const difficulty = pickDifficulty(random, options.difficulties ?? [0.6, 0.3, 0.1]);
  return {
    family: family.name,
    language,
    difficulty,
    draft: family.generate(new Teller(random, language), difficulty),
  };
}

function pickDifficulty(random: Random, shares: readonly [number, number, number]): Difficulty {
  const at = random.next() * (shares[0] + shares[1] + shares[2]);
  return at < shares[0] ? 1 : at < shares[0] + shares[1] ? 2 : 3;
}

/** Makes drafts number `from` to `to` (not included) and keeps what the gate lets through. */
export async function produceRange(
  from: number,
  to: number,
  options: ProduceOptions,
  solver: Solver,
): Promise<Produced> {
  const accepted: Sample[] = [];
  const rejected: Rejected[] = [];
  for (let index = from; index < to; index++) {
    const { family, language, difficulty, draft } = draftAt(index, options);
    const verdict = await judge(draft, solver);
    if (!verdict.ok) {
      rejected.push({
        id: `${options.seed}/${index}`,
        family,
        reason: verdict.reason,
        detail: verdict.detail,
      });
      continue;
    }
    accepted.push(
      identify({
        problem: draft.problem,
        answer: verdict.answer,
        family,
        difficulty,
        language,
        objective: verdict.objective,
        status: "optimal",
        parametersHash: hashJson([family, draft.parameters]).slice(0, 16),
        wording: `${family}/${draft.wording}`,
        origin: `${options.seed}/${index}`,
      }),
    );
  }
  return { accepted, rejected, attempts: to - from };
}

/** In this thread, until `count` are accepted. For several threads see `factory.ts`. */
export async function produceProblems(
  options: ProduceOptions,
  progress: (accepted: number, attempts: number) => void = () => {},
): Promise<Produced> {
  const solver = await Solver.open();
  const accepted: Sample[] = [];
  const rejected: Rejected[] = [];
  let attempts = 0;
  while (accepted.length < options.count) {
    const some = await produceRange(attempts, attempts + 50, options, solver);
    accepted.push(...some.accepted);
    rejected.push(...some.rejected);
    attempts += some.attempts;
    progress(accepted.length, attempts);
    if (attempts > 1000 && accepted.length < attempts * 0.05)
      throw new Error("the gate rejects nearly everything");
  }
  return { accepted: accepted.slice(0, options.count), rejected, attempts };
}
