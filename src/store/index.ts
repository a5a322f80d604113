export { type Bucket, bucketize, splitRewound } from "./downsample.ts";
export { type MatrixSeries, readSeries, type ScalarSeries, SeriesReader, type Tail } from "./reader.ts";
export type { MatrixType } from "./segment.ts";
export { SeriesWriter } from "./writer.ts";
