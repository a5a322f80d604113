export { type Bucket, bucketize, splitRewound } from "./downsample.ts";
export { type MatrixSeries, readSeries, type ScalarSeries, SeriesReader, type Tail } from "./reader.ts";
export { recordMessage } from "./record.ts";
export type { MatrixType } from "./segment.ts";
export { MemorySeries, type SeriesSink, type SeriesSource } from "./source.ts";
export { SeriesWriter } from "./writer.ts";
