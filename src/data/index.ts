export { trainVocabulary, type TrainOptions, type Vocabulary } from "./bpe.ts";
export {
  type Classifier,
  classify,
  type ClassScreen,
  languageOf,
  measureClasses,
  screenByClass,
  sizeFeatures,
  topicFeatures,
  trainClassifier,
} from "./classify.ts";
export { type DecontaminateOptions, findLeaks, type Leak } from "./decontaminate.ts";
export { type DedupOptions, type Duplicate, findDuplicates } from "./dedup.ts";
export { fail as dataFail } from "./errors.ts";
export { answerOf, completionOf, harmless, MARKS, plainOf, promptOf, SPECIAL_TOKENS } from "./format.ts";
export { generalDocument, type GeneralDocument, generalText, produceGeneral } from "./general/index.ts";
export { readLines, toLines } from "./jsonl.ts";
export { bestFit, type Encoded, NO_LOSS, type Packed, packedTensors, packSamples } from "./pack.ts";
export { type Language, listText, SERIES_SHAPES, type SeriesShape, seriesText } from "./phrase.ts";
export { decodeTensors, encodeTensors, readTensors, type Tensor, writeTensors } from "./safetensors.ts";
export { identify, type Sample } from "./sample.ts";
export { apportion, type Mix, type Selection, selectMix } from "./select.ts";
export {
  codeVersion,
  type Manifest,
  runStep,
  type StepOutput,
  type StepRequest,
  type StepResult,
  tally,
  verifyStep,
} from "./steps.ts";
export { Tokenizer, trainTokenizer } from "./tokenizer.ts";
export { type DataIndex, type Fate, readIndex, type StepFate, why, writeIndex } from "./why.ts";
