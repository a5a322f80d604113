import { Random } from "../../base/index.ts";
import { hashJson } from "../../base/node.ts";
import { identify, type Sample } from "../../data/index.ts";
import { FAMILIES } from "./families/index.ts";
import { type Candidate, judge, type Rejection } from "./gate.ts";
import { writeLp } from "./lp.ts";
import { Solver } from "./solver.ts";
import { type Difficulty, type Language, Teller } from "./teller.ts";

export type ProduceOptions = {
  readonly seed: number;
  /** Names of families; default all. */
  readonly families?: readonly string[] | undefined;
  /** Shares of the difficulties 1, 2, 3. */
  readonly difficulties?: readonly [number, number, number] | undefined;
  /** Share of Chinese problems. */
  readonly chinese?: number | undefined;
  /** Share of drafts that tell an earlier task again; screening finds those whose words come out alike. */
  readonly retellings?: number | undefined;
};

/** A worded problem with the text of its model that nothing has solved yet. */
export type Unproven = Omit<Sample, "id" | "objective" | "status"> & Candidate;

/**
 * Problem number `index` of a seed: the same on every machine and in any order, so that work can be cut into ranges.
 * Families take turns; difficulty and language are drawn with the shares asked for.
 */
export function draftAt(index: number, options: ProduceOptions): Unproven {
  const families = options.families
    ? FAMILIES.filter(({ name }) => options.families?.includes(name))
    : FAMILIES;
  const family = families[index % families.length];
  if (!family) throw new RangeError("no family of that name");
  // A retelling takes numbers and names of an earlier draft of the same family and tells them in other words.
  const choice = new Random(`or/${options.seed}/${index}/choice`);
  const again = index >= families.length && choice.next() < (options.retellings ?? 0.05);
  const task = again ? index - families.length * choice.int(1, Math.floor(index / families.length)) : index;
  const random = new Random(`or/${options.seed}/${task}`);
  const language: Language = random.next() < (options.chinese ?? 0.4) ? "zh" : "en";
  const difficulty = pickDifficulty(random, options.difficulties ?? [0.6, 0.3, 0.1]);
  const draft = family.generate(
    new Teller(random, language, new Random(`or/${options.seed}/${index}/words`)),
    difficulty,
  );
  return {
    problem: draft.problem,
    answer: writeLp(draft.model),
    labels: draft.labels,
    family: family.name,
    difficulty,
    language,
    parametersHash: hashJson([family.name, draft.parameters]).slice(0, 16),
    wording: `${family.name}/${draft.wording}`,
    origin: `${options.seed}/${index}`,
  };
}

function pickDifficulty(random: Random, shares: readonly [number, number, number]): Difficulty {
  const at = random.next() * (shares[0] + shares[1] + shares[2]);
  return at < shares[0] ? 1 : at < shares[0] + shares[1] ? 2 : 3;
}

export type Rejected = {
  readonly origin: string;
  readonly family: string;
  readonly reason: Rejection;
  readonly detail: string;
};
export type Gated = { readonly accepted: readonly Sample[]; readonly rejected: readonly Rejected[] };

/** Solves every draft; keeps those that pass, with their proven optimum, and the reason of the others. */
export async function gateDrafts(
  drafts: readonly Unproven[],
  solver: Solver,
  progress: Progress = () => {},
): Promise<Gated> {
  const accepted: Sample[] = [];
  const rejected: Rejected[] = [];
  for (const [i, draft] of drafts.entries()) {
    const verdict = await judge(draft, solver);
    if (verdict.ok) {
      const { labels: _labels, ...sample } = draft;
      accepted.push(identify({ ...sample, objective: verdict.objective, status: "optimal" }));
    } else {
      rejected.push({
        origin: draft.origin,
        family: draft.family,
        reason: verdict.reason,
        detail: verdict.detail,
      });
    }
    if (i % 50 === 49 || i === drafts.length - 1) {
      progress(i + 1, drafts.length);
      // Solving is one long computation for the event loop; others in this process get their turn here.
      await new Promise((resume) => setImmediate(resume));
    }
  }
  return { accepted, rejected };
}

export type Progress = (done: number, of: number) => void;

/** Drafts `count` problems and keeps the accepted ones; for small uses. The pipeline does the same in two steps with lineage. */
export async function produceProblems(
  options: ProduceOptions & { readonly count: number },
  progress?: Progress,
): Promise<Gated> {
  const drafts = Array.from({ length: options.count }, (_unused, index) => draftAt(index, options));
  return gateDrafts(drafts, await Solver.open(), progress);
}
