import { formatBytes, formatSeconds } from "../base/index.ts";
import { clusterDevices } from "../cluster/index.ts";
import { type Layout, SCHEDULES, worldOf } from "./layout.ts";
import { type PlanRequest, runSearch } from "./plan.ts";
import {
  candidates,
  CONSTRAINT_NAMES,
  type Constraints,
  type Found,
  layoutName,
  type Rejected,
  type RejectedRow,
  rejectedRow,
  type SearchResult,
  whySlower,
} from "./search/index.ts";

/** Layouts that lost, with what bound each; `total` counts those that are not listed too. */
export type WhyNot = { readonly rows: readonly RejectedRow[]; readonly total: number };

/**
 * Why layouts whose name holds all of the words are not the plan. The search discards most by bounds; the near misses that are listed
 * are looked at again one by one, so that their numbers are what they would really need. Where no such layout is legal, the rule it breaks.
 */
export function whyNot(request: PlanRequest, result: SearchResult, words: string, most = 40): WhyNot {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const holds = (layout: Layout, microBatch: number) => {
    const name = layoutName(layout, microBatch).toLowerCase().split(" ");
    return wanted.every((word) => name.includes(word));
  };
  const [best] = result.found;
  const asked: PlanRequest = {
    ...request,
    world: best ? worldOf(best.layout) : clusterDevices(request.cluster),
  };
  const slower = result.found
    .slice(1)
    .filter(({ layout, training }) => holds(layout, training.microBatch))
    .map((found) => slowerRow(found, best as Found));
  const rejected = result.rejected.filter(({ layout, microBatch }) => holds(layout, microBatch));
  rejected.sort((a, b) => order(a) - order(b) || a.amount - b.amount);
  const looked = rejected
    .slice(0, Math.max(0, most - slower.length))
    .map((one) => ({ ...alone(asked, one, best), group: order(one) }))
    .sort((a, b) => a.group - b.group || (a.amount ?? 0) - (b.amount ?? 0));
  const rows = [...slower, ...looked.map(({ group: _, ...row }) => row)];
  if (rows.length === 0) return illegal(asked, wanted, holds);
  return { rows, total: slower.length + rejected.length };
}

/** Those that fit come first. */
const order = ({ constraint }: Rejected): number => (constraint === "slower" ? 0 : 1);

function slowerRow(found: Found, best: Found): RejectedRow {
  const why = whySlower(found, best);
  const { seconds } = found.time;
  const name = CONSTRAINT_NAMES.slower;
  return {
    name: layoutName(found.layout, found.training.microBatch),
    constraint: "slower",
    amount: seconds,
    text: {
      en: `${name.en}: ${formatSeconds(seconds)} a step, ${why.en}`,
      zh: `${name.zh}：每步 ${formatSeconds(seconds)}，${why.zh}`,
    },
  };
}

/** A search in which it is the only candidate. */
function alone(request: PlanRequest, one: Rejected, best: Found | undefined): RejectedRow {
  const { layout, microBatch } = one;
  const { pp, vpp, tp, cp, ep, etp, dpReplicate, zero, schedule, recompute, offload, contextParallel } =
    layout;
  const only: Constraints = {
    ...request.constraints,
    pp: [pp],
    vpp: [vpp],
    tp: [tp],
    cp: [cp],
    contextParallel: [contextParallel],
    ep: [ep],
    etp: [etp],
    dpReplicate: [dpReplicate],
    zero: [zero],
    schedules: [schedule],
    recompute: [recompute],
    optimizerOffload: [offload.optimizer],
    microBatch: [microBatch],
  };
  const result = runSearch({ ...request, constraints: only, simulate: 1 }, true, false);
  const [found] = result.found;
  if (found && best) return slowerRow(found, best);
  const [lost] = result.rejected;
  if (!lost) return rejectedRow(one);
  const name = CONSTRAINT_NAMES[lost.constraint];
  const short = formatBytes(lost.amount);
  return {
    name: layoutName(layout, microBatch),
    constraint: lost.constraint,
    amount: lost.amount,
    text: { en: `${name.en}: short by ${short}`, zh: `${name.zh}：還差 ${short}` },
  };
}

/** The rules that combinations with these words break, one example each. */
function illegal(
  request: PlanRequest,
  wanted: readonly string[],
  holds: (layout: Layout, microBatch: number) => boolean,
): WhyNot {
  const { model, cluster, training, constraints } = request;
  const world = request.world as number;
  const rows = new Map<string, RejectedRow>();
  const degrees = degreesOf(wanted);
  const each = candidates(
    model,
    cluster,
    training,
    world,
    { ...constraints, ...degrees },
    (candidate, problem) => {
      const { layout, microBatch } = candidate;
      const { constraint, detail } = problem;
      if (rows.has(constraint) || !holds(layout, microBatch)) return;
      const name = CONSTRAINT_NAMES[constraint];
      rows.set(constraint, {
        name: layoutName(layout, microBatch),
        constraint,
        text: { en: `${name.en}: ${detail.en}`, zh: `${name.zh}：${detail.zh}` },
      });
    },
  );
  for (const _ of each);
  const ranks = Object.entries({ pp: degrees.pp, tp: degrees.tp, cp: degrees.cp }).flatMap(([name, list]) =>
    list ? [{ name, value: list[0] as number }] : [],
  );
  if (world % ranks.reduce((product, { value }) => product * value, 1) !== 0) {
    const list = ranks.map(({ name, value }) => `${name} ${value}`).join(" x ");
    const name = CONSTRAINT_NAMES.world;
    rows.set("world", {
      name: wanted.join(" "),
      constraint: "world",
      text: {
        en: `${name.en}: ${list} does not divide ${world} devices`,
        zh: `${name.zh}：${list} 不能整除 ${world} 個加速器`,
      },
    });
  }
  return { rows: [...rows.values()], total: rows.size };
}

const DEGREES: Readonly<Record<string, keyof Constraints>> = {
  pp: "pp",
  vpp: "vpp",
  tp: "tp",
  cp: "cp",
  ep: "ep",
  etp: "etp",
  mb: "microBatch",
};

/** `pp8 ep64` as limits to the search. */
function degreesOf(words: readonly string[]): Partial<Constraints> {
  const out: Record<string, readonly unknown[]> = {};
  for (const word of words) {
    const [, name = "", value] = /^([a-z]+)(\d+)$/.exec(word) ?? [];
    const key = DEGREES[name];
    if (key && Number(value) > 0) out[key] = [Number(value)];
    const schedule = SCHEDULES.find((known) => known === word);
    if (schedule) out["schedules"] = [schedule];
  }
  return out as Partial<Constraints>;
}
