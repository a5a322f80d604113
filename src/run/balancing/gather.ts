import { type Loads, makeLoads, makeShape, type Placement } from "../../experts/index.ts";
import {
  type ByLink,
  decodeArray,
  type KnownMessage,
  type LinkTimes,
  number,
  type StepMessage,
} from "../wire/index.ts";
import type { ExpertTopology, WholeStep } from "./types.ts";

type Row = { readonly counts: readonly number[]; readonly slots: readonly number[]; readonly stage: number };
type Part = { readonly rows: Map<number, Row>; readonly steps: Map<number, StepMessage> };

/** Steps that may wait for a message; one that waits longer goes on without it, or not at all. */
const PATIENCE = 3;

/**
 * Puts together what ranks tell of a step, in any order. Loads come from one rank of each stage, after that rank has told where the
 * stage's experts stand, so a step is always seen with the placement that it was trained under.
 */
export class Gather {
  readonly #topology: ExpertTopology;
  readonly #slots = new Map<number, readonly number[]>();
  readonly #stages = new Set<number>();
  readonly #parts = new Map<number, Part>();
  #placement: Placement | undefined;
  #done = 0;

  constructor(topology: ExpertTopology) {
    this.#topology = topology;
  }

  /** Takes one message, heard at `now`; the step that it completes, if it does. */
  add(message: KnownMessage, now: number): WholeStep | undefined {
    switch (message.kind) {
      case "placement":
        for (const [layer, slots] of Object.entries(message.layers)) this.#slots.set(Number(layer), slots);
        this.#stages.add(this.#stageOf(message.rank));
        return undefined;
      case "load":
        this.#load(message);
        return this.#whole(message.step, now);
      case "step":
        this.#part(message.step)?.steps.set(message.rank, message);
        return this.#whole(message.step, now);
      default:
        return undefined;
    }
  }

  #stageOf = (rank: number): number => Math.floor((rank * this.#topology.pp) / this.#topology.world);

  #part(step: number): Part | undefined {
    if (step <= this.#done) return undefined;
    let part = this.#parts.get(step);
    if (!part) {
      part = { rows: new Map(), steps: new Map() };
      this.#parts.set(step, part);
    }
    return part;
  }

  #load(message: Extract<KnownMessage, { kind: "load" }>): void {
    const array = decodeArray(message.counts);
    const [layers = 0, experts = 0] = array?.shape ?? [];
    const part = this.#part(message.step);
    if (!array || !part || array.shape.length !== 2 || layers !== message.layers.length) return;
    for (const [i, layer] of message.layers.entries()) {
      const slots = this.#slots.get(layer);
      const counts = array.values.slice(i * experts, (i + 1) * experts);
      if (slots) part.rows.set(layer, { counts, slots, stage: this.#stageOf(message.rank) });
    }
  }

  #whole(step: number, now: number): WholeStep | undefined {
    const part = this.#parts.get(step);
    if (part && this.#complete(part) && part.steps.size === this.#topology.world)
      return this.#close(step, part, now);
    // Others are further on already: the oldest has waited long enough.
    const oldest = Math.min(...this.#parts.keys());
    if (step - oldest <= PATIENCE) return undefined;
    const late = this.#parts.get(oldest) as Part;
    if (this.#complete(late) && late.steps.has(0)) return this.#close(oldest, late, now);
    this.#parts.delete(oldest);
    return undefined;
  }

  #complete = (part: Part): boolean =>
    this.#stages.size === this.#topology.pp && this.#slots.size > 0 && part.rows.size === this.#slots.size;

  #close(step: number, part: Part, now: number): WholeStep | undefined {
    for (const number of this.#parts.keys()) if (number <= step) this.#parts.delete(number);
    this.#done = step;
    const ids = [...part.rows.keys()].sort((a, b) => a - b);
    const rows = ids.map((id) => part.rows.get(id) as Row);
    const loads = makeLoads(
      rows.map((row) => row.counts),
      ids,
    );
    const placement = loads.ok ? this.#placementOf(loads.value, rows) : undefined;
    if (!loads.ok || !placement) return undefined;
    const { world } = this.#topology;
    const of = (value: (message: StepMessage) => number) =>
      Float64Array.from({ length: world }, (_, rank) => {
        const message = part.steps.get(rank);
        return message ? value(message) : Number.NaN;
      });
    const span = (message: StepMessage, name: string) => number(message.spans?.[name]);
    const peaks = [...part.steps.values()].map(({ memory }) => memory?.["peak"] || memory?.["hostPeak"] || 0);
    return {
      step,
      seconds: number(part.steps.get(0)?.seconds),
      boundarySeconds:
        number(part.steps.get(0)?.spans?.["boundary"]) + (part.steps.get(0)?.spans?.["landing"] ?? 0),
      t: part.steps.get(0)?.t ?? now,
      heardAt: now,
      loads: loads.value,
      placement,
      stageOf: rows.map((row) => row.stage),
      busy: of((message) => span(message, "forwardBackward") - span(message, "allToAll")),
      exchange: of((message) => span(message, "allToAll")),
      experts: of((message) => span(message, "experts")),
      rows: of((message) => message.expertPairs ?? Number.NaN),
      dropped: part.steps.get(0)?.droppedPairs ?? Number.NaN,
      sent: [0, 1, 2].map((link) =>
        of((message) => message.sentPairs?.[link] ?? Number.NaN).reduce((sum, n) => sum + n, 0),
      ) as unknown as WholeStep["sent"],
      links: linkTimes(step, [...part.steps.values()]),
      peakBytes: Math.max(0, ...peaks),
    };
  }

  /** The same object while nothing moves. */
  #placementOf(loads: Loads, rows: readonly Row[]): Placement | undefined {
    const { ep, nodes, routerGroups } = this.#topology;
    const slots = rows.flatMap((row) => row.slots);
    const last = this.#placement;
    if (last && last.slots.length === slots.length && slots.every((e, i) => e === last.slots[i])) return last;
    const count = rows[0]?.slots.length ?? 0;
    const shape = makeShape({ experts: loads.experts, ranks: ep, slots: count, nodes, groups: routerGroups });
    if (!shape.ok || slots.length !== count * rows.length) return undefined;
    this.#placement = {
      ids: loads.ids,
      layers: rows.length,
      shape: shape.value,
      slots: Int32Array.from(slots),
    };
    return this.#placement;
  }
}

/** Means over the ranks that timed their links in this step. */
function linkTimes(step: number, told: readonly StepMessage[]): LinkTimes | null {
  const timed = told.filter(({ spans }) => spans?.["allToAll.rank"] !== undefined);
  if (timed.length === 0) return null;
  const mean = (of: (message: StepMessage) => number) =>
    timed.reduce((sum, message) => sum + of(message), 0) / timed.length;
  const byLink = (of: (message: StepMessage, name: string, link: number) => number): ByLink => ({
    rank: mean((message) => of(message, "rank", 0)),
    node: mean((message) => of(message, "node", 1)),
    network: mean((message) => of(message, "network", 2)),
  });
  return {
    step,
    allToAllSeconds: mean(({ spans }) => spans?.["allToAll"] ?? 0),
    seconds: byLink(({ spans }, name) => spans?.[`allToAll.${name}`] ?? 0),
    bytes: byLink(({ linkBytes }, _, link) => linkBytes?.[link] ?? 0),
  };
}
