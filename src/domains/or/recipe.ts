import { z } from "zod";
import { FAMILIES } from "./families/index.ts";

const shares = z.record(z.string(), z.number().min(0));

/** The `data` part of a recipe; strict, so an unknown key is an error. Every field has a default that the quick start uses. */
export const dataPart = z.strictObject({
  seed: z.int().min(0).default(17),
  /** Drafts to make; about 97 % pass the gate. */
  drafts: z.int().min(10).default(6000),
  families: z
    .array(z.enum(FAMILIES.map(({ name }) => name)))
    .min(1)
    .optional(),
  difficulties: z.tuple([z.number(), z.number(), z.number()]).default([0.7, 0.25, 0.05]),
  /** Share of Chinese problems. */
  chinese: z.number().min(0).max(1).default(0.4),
  /** Share of drafts that tell an earlier task again in other words. */
  retellings: z.number().min(0).max(0.9).default(0.05),
  /** One in so many parameter sets belongs to the held-out side. */
  heldoutEvery: z.int().min(2).default(10),
  /** Problems taken into the held-out set and into the training set. */
  heldout: z.int().min(1).default(240),
  train: z.int().min(1).default(4000),
  mix: z
    .strictObject({
      families: shares.optional(),
      difficulties: shares.optional(),
      languages: shares.optional(),
    })
    .default({ difficulties: { 1: 0.7, 2: 0.25, 3: 0.05 }, languages: { en: 0.6, zh: 0.4 } }),
  dedup: z.strictObject({ threshold: z.number().min(0.3).max(1).default(0.6) }).prefault({}),
  decontaminate: z
    .strictObject({
      n: z.int().min(3).default(13),
      numbers: z.int().min(0).default(3),
      documentLimit: z.int().min(2).default(10),
    })
    .prefault({}),
  /** Tokens of general text in the training rows, as a share of all: guards against forgetting. */
  replay: z.number().min(0).max(0.9).default(0.1),
  /** Held-out documents of general text for the retention check. */
  retention: z.int().min(0).default(400),
  sequenceLength: z.int().min(64).default(256),
  /** Folder of a tokenizer (the base model's); without it one is trained. */
  tokenizer: z.string().optional(),
  vocabularySize: z.int().min(300).default(1536),
});
export type DataPart = z.infer<typeof dataPart>;
