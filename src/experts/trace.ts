import { err, ok, type Result } from "../base/index.ts";
import { fail } from "./errors.ts";
import { MOST, tooMany } from "./shape.ts";

/** Which experts each token chose in one layer: `chosen[t * k + i]`, k different experts a token. */
export type Trace = {
  readonly experts: number;
  readonly tokens: number;
  readonly k: number;
  readonly chosen: Int32Array;
};

/** Checks a recorded trace. Errors: EXPERTS_TRACE. */
export function makeTrace(experts: number, k: number, chosen: ArrayLike<number>): Result<Trace> {
  const bad = (why: string) => err(fail("EXPERTS_TRACE", { why }));
  if (tooMany({ experts })) return bad(`${experts} experts, at most ${MOST} / 專家過多`);
  if (!Number.isSafeInteger(k) || k < 1 || k > experts) return bad(`top-k is ${k} / top-k 是 ${k}`);
  if (chosen.length === 0 || chosen.length % k !== 0) return bad(`${chosen.length} ids, top-${k}`);
  for (let i = 0; i < chosen.length; i++) {
    const e = chosen[i] as number;
    if (!Number.isSafeInteger(e) || e < 0 || e >= experts)
      return bad(`token ${Math.floor(i / k)}: expert ${e}`);
    for (let j = i - (i % k); j < i; j++) {
      if (chosen[j] === e) return bad(`token ${Math.floor(i / k)}: expert ${e} twice / 重複`);
    }
  }
  return ok({ experts, tokens: chosen.length / k, k, chosen: Int32Array.from(chosen) });
}

/** Tokens `from .. to - 1` of a trace. */
export const sliceTrace = (trace: Trace, from: number, to: number): Trace => ({
  ...trace,
  tokens: Math.min(to, trace.tokens) - from,
  chosen: trace.chosen.subarray(from * trace.k, to * trace.k),
});

/** Tokens per expert of a trace; ids below 0 are skipped. */
export function traceLoads(trace: Trace): Float64Array {
  const loads = new Float64Array(trace.experts);
  for (const e of trace.chosen) if (e >= 0) loads[e] = (loads[e] as number) + 1;
  return loads;
}

/** Mean number of different nodes that a token's experts stand on. */
export function distinctNodes(trace: Trace, nodeOf: Int32Array): number {
  let seen = 0;
  for (let t = 0; t < trace.tokens; t++) {
    let mask = 0n;
    for (let i = t * trace.k; i < (t + 1) * trace.k; i++) {
      const bit = 1n << BigInt(nodeOf[trace.chosen[i] as number] as number);
      if (!(mask & bit)) seen++;
      mask |= bit;
    }
  }
  return seen / Math.max(1, trace.tokens);
}

/**
 * Mean number of different nodes other than the token's own; tokens start on all nodes alike, so each node a token visits is its own
 * with chance 1 / nodes.
 */
export const remoteNodes = (trace: Trace, nodeOf: Int32Array, nodes: number): number =>
  distinctNodes(trace, nodeOf) * (1 - 1 / nodes);

/** Load of the busiest node over the mean. */
export function nodeMaxOverMean(loads: Float64Array, nodeOf: Int32Array, nodes: number): number {
  const sums = new Float64Array(nodes);
  let all = 0;
  for (let e = 0; e < loads.length; e++) {
    sums[nodeOf[e] as number] = (sums[nodeOf[e] as number] as number) + (loads[e] as number);
    all += loads[e] as number;
  }
  return all > 0 ? (Math.max(...sums) * nodes) / all : 1;
}
