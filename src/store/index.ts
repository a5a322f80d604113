export { type Bucket, bucketize, splitRewound } from "./downsample.ts";
export { readSeries, recordMessage } from "./record.ts";
export { type MatrixSeries, MemorySeries, type ScalarSeries, type SeriesSource } from "./source.ts";
