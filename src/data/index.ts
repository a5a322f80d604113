export { type TrainOptions, trainVocabulary, type Vocabulary } from "./bpe.ts";
export { bestFit, type Encoded, NO_LOSS, type Packed, packedTensors, packSamples } from "./pack.ts";
export { decodeTensors, encodeTensors, readTensors, type Tensor, writeTensors } from "./safetensors.ts";
export { identify, type Sample } from "./sample.ts";
export { Tokenizer, trainTokenizer } from "./tokenizer.ts";
export { type Language, listText, SERIES_SHAPES, seriesText, type SeriesShape } from "./phrase.ts";
export { generalDocument, type GeneralDocument, produceGeneral } from "./general/index.ts";
