export { type TrainOptions, trainVocabulary, type Vocabulary } from "./bpe.ts";
export { bestFit, type Encoded, NO_LOSS, type Packed, packedTensors, packSamples } from "./pack.ts";
export { decodeTensors, encodeTensors, readTensors, type Tensor, writeTensors } from "./safetensors.ts";
export { identify, type Sample } from "./sample.ts";
export { Tokenizer, trainTokenizer } from "./tokenizer.ts";
