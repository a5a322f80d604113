import { Random } from "../../base/index.ts";
import { sha256 } from "../../base/node.ts";
import { completionOf, plainOf, promptOf } from "../format.ts";
import type { Language } from "../phrase.ts";
import { makeStory } from "./stories.ts";
import { makeTask } from "./tasks.ts";

/**
 * General text for pre-training a base model and for the retention check: seeded, English and Chinese. Two thirds are rewriting
 * tasks (`prompt` set), one third plain text (`prompt` empty). Loss may cover the whole text.
 */
export type GeneralDocument = {
  readonly id: string;
  readonly language: Language;
  readonly prompt: string;
  readonly text: string;
  /** One in `HELD_OUT` documents by content is never trained on: the retention set. */
  readonly split: "train" | "heldout";
};

const HELD_OUT = 20;

/** Document number `index` of a seed, the same in any order. */
export function generalDocument(index: number, seed: number, chinese = 0.4): GeneralDocument {
  const random = new Random(`general/${seed}/${index}`);
  const language: Language = random.next() < chinese ? "zh" : "en";
  const task = random.next() < 0.67 ? makeTask(random, language) : undefined;
  const prompt = task?.prompt ?? "";
  const text = task?.answer ?? makeStory(random, language);
  const id = sha256(`${prompt}\u0000${text}`).slice(0, 16);
  // By content, so that a text that occurs twice is never on both sides, whatever the seed.
  const split = Number.parseInt(id.slice(0, 8), 16) % HELD_OUT === 0 ? "heldout" : "train";
  return { id, language, prompt, text, split };
}

/** `count` different documents of one split. */
export function produceGeneral(options: {
  readonly seed: number;
  readonly count: number;
  readonly split: "train" | "heldout";
  readonly chinese?: number;
}): GeneralDocument[] {
  const seen = new Set<string>();
  const out: GeneralDocument[] = [];
  for (let index = 0; out.length < options.count; index++) {
    const document = generalDocument(index, options.seed, options.chinese);
    if (document.split !== options.split || seen.has(document.id)) continue;
    seen.add(document.id);
    out.push(document);
  }
  return out;
}

/** The document as training text, marks included. */
export const generalText = ({ prompt, text }: GeneralDocument): string =>
  prompt === "" ? plainOf(text) : promptOf(prompt) + completionOf(text);
