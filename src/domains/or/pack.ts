import { hashJson } from "../../base/node.ts";
import {
  completionOf,
  type Encoded,
  encodeTensors,
  type GeneralDocument,
  generalText,
  packedTensors,
  packSamples,
  produceGeneral,
  promptOf,
  type Sample,
  type StepOutput,
  tally,
  type Tokenizer,
  toLines,
} from "../../data/index.ts";

/** Samples and general text as packed rows: what training, retention check and a base model's pre-training read. */
export const tokenizerFiles = (tokenizer: Tokenizer): StepOutput => ({
  files: tokenizer.files(),
  counts: { tokens: tokenizer.size },
});

export const packedMetadata = (tokenizer: Tokenizer): Record<string, string> => ({
  format: "tessera.packed/v1",
  tokenizer: hashJson(tokenizer.vocabulary).slice(0, 16),
});

/** A task with the loss on its answer only. */
export function encodeSample(
  sample: Pick<Sample, "id" | "problem" | "answer">,
  tokenizer: Tokenizer,
): Encoded {
  const prompt = tokenizer.encode(promptOf(sample.problem));
  return {
    id: sample.id,
    tokens: [...prompt, ...tokenizer.encode(completionOf(sample.answer))],
    learnFrom: prompt.length,
  };
}

/**
 * General text: the loss is on everything but the opening mark, and on the answer only where the text is a task. What a task asks about is drawn
 * at random, so its prompt holds nothing to learn; learning from it too cost a base model more than half of its steps.
 */
export const encodeGeneral = (document: GeneralDocument, tokenizer: Tokenizer): Encoded => ({
  id: document.id,
  tokens: tokenizer.encode(generalText(document)),
  learnFrom: document.prompt === "" ? 1 : tokenizer.encode(promptOf(document.prompt)).length,
});

/** Training rows (problems plus a share of general text) and retention rows. */
export function packDataset(
  samples: readonly Sample[],
  tokenizer: Tokenizer,
  options: {
    readonly sequenceLength: number;
    readonly replay: number;
    readonly retention: number;
    readonly seed: number;
  },
): StepOutput {
  const encoded = samples.map((sample) => encodeSample(sample, tokenizer));
  const budget =
    (encoded.reduce((sum, { tokens }) => sum + tokens.length, 0) * options.replay) / (1 - options.replay);
  const replay = replayFor(budget, tokenizer, options.seed);
  const layout = { length: options.sequenceLength, padId: tokenizer.id("<|pad|>"), seed: options.seed };
  const train = packSamples([...encoded, ...replay], layout);
  const held = produceGeneral({ seed: options.seed, count: options.retention, split: "heldout" });
  const retention = packSamples(
    held.map((document) => encodeGeneral(document, tokenizer)),
    layout,
  );
  const metadata = packedMetadata(tokenizer);
  return {
    files: {
      "train.safetensors": encodeTensors(packedTensors(train), metadata),
      "retention.safetensors": encodeTensors(packedTensors(retention), metadata),
      "members.jsonl": toLines(train.members.map((ids, row) => ({ row, ids }))),
      "dropped.jsonl": toLines(train.leftOut.map((id) => ({ id, reason: "too-long" }))),
    },
    counts: {
      in: samples.length,
      out: samples.length - train.leftOut.length,
      rows: train.rows,
      tokens: train.tokens,
      learned: train.learned,
      replayed: replay.length,
      retentionRows: retention.rows,
    },
    reasons: tally(train.leftOut.map(() => "too-long")),
  };
}

function replayFor(budget: number, tokenizer: Tokenizer, seed: number): Encoded[] {
  const out: Encoded[] = [];
  let spent = 0;
  // Far from the documents that a base model of the same seed saw.
  const pool =
    budget > 0
      ? produceGeneral({ seed: seed + 1_000_003, count: Math.ceil(budget / 8) + 1, split: "train" })
      : [];
  for (const document of pool) {
    if (spent >= budget) break;
    const each = encodeGeneral(document, tokenizer);
    out.push(each);
    spent += each.tokens.length;
  }
  return out;
}
