import { sha256File } from "../../base/node.ts";
import { join, resolve } from "node:path";
import { z } from "zod";
import {
  codeVersion,
  encodeTensors,
  generalText,
  packedTensors,
  packSamples,
  produceGeneral,
  runStep,
  SPECIAL_TOKENS,
  type StepResult,
  Tokenizer,
  toLines,
  trainTokenizer,
} from "../../data/index.ts";
import { encodeGeneral, packedMetadata, tokenizerFiles } from "./pack.ts";
import { draftAt } from "./produce.ts";

/**
 * Data for a base model: a tokenizer that knows the words of general text and of the problems, and rows of general text alone. The base
 * model never sees a problem's answer; what it learns is reading, copying and rewriting.
 */
export const basePart = z.strictObject({
  seed: z.int().min(0).default(11),
  documents: z.int().min(10).default(60_000),
  chinese: z.number().min(0).max(1).default(0.4),
  sequenceLength: z.int().min(64).default(256),
  vocabularySize: z.int().min(300).default(1536),
  /** Folder of a tokenizer to use; without it one is trained. */
  tokenizer: z.string().optional(),
  /** Texts of each kind that the tokenizer is trained on. */
  tokenizerTexts: z.int().min(100).default(6000),
});
export type BasePart = z.infer<typeof basePart>;
export type BaseData = {
  readonly tokenizer: string;
  readonly train: string;
  readonly steps: readonly StepResult[];
};

export async function runBaseData(part: BasePart, folder: string): Promise<BaseData> {
  const code = codeVersion([resolve(import.meta.dirname, "../../data"), import.meta.dirname]);
  const { seed, documents, chinese, sequenceLength, vocabularySize, tokenizerTexts } = part;
  const words = await runStep(
    folder,
    part.tokenizer === undefined
      ? { step: "tokenizer", code, parameters: { seed, chinese, vocabularySize, tokenizerTexts }, inputs: {} }
      : {
          step: "tokenizer",
          code,
          parameters: {},
          inputs: { given: sha256File(join(part.tokenizer, "tokenizer.json")) },
        },
    () => {
      if (part.tokenizer !== undefined) return tokenizerFiles(Tokenizer.load(part.tokenizer));
      const general = produceGeneral({ seed, count: tokenizerTexts, split: "train", chinese }).map(
        generalText,
      );
      const problems = Array.from({ length: tokenizerTexts }, (_unused, index) =>
        draftAt(index, { seed, chinese }),
      );
      const texts = [...general, ...problems.map(({ problem, answer }) => `${problem}\n${answer}`)];
      return tokenizerFiles(trainTokenizer(texts, { vocabularySize, special: SPECIAL_TOKENS }));
    },
  );
  const rows = await runStep(
    folder,
    {
      step: "pack",
      code,
      parameters: { seed, documents, chinese, sequenceLength },
      inputs: { tokenizer: words.manifest.content },
    },
    () => {
      const tokenizer = Tokenizer.load(words.folder);
      const texts = produceGeneral({ seed, count: documents, split: "train", chinese });
      const encoded = texts.map((document) => encodeGeneral(document, tokenizer));
      const packed = packSamples(encoded, { length: sequenceLength, padId: tokenizer.id("<|pad|>"), seed });
      return {
        files: {
          "train.safetensors": encodeTensors(packedTensors(packed), packedMetadata(tokenizer)),
          "dropped.jsonl": toLines(packed.leftOut.map((id) => ({ id, reason: "too-long" }))),
        },
        counts: {
          in: documents,
          out: documents - packed.leftOut.length,
          rows: packed.rows,
          tokens: packed.tokens,
        },
      };
    },
  );
  return { tokenizer: words.folder, train: join(rows.folder, "train.safetensors"), steps: [words, rows] };
}
