import { err, ok, type Result, type TesseraError } from "../base/index.ts";
import { fail } from "./errors.ts";

/** What a caller says about the places: every field but the first two has a default. */
export type ShapeRequest = {
  readonly experts: number;
  readonly ranks: number;
  /** Slots of all ranks together; default: as many as experts. Ignored when `slotsPerRank` is given. */
  readonly slots?: number;
  /** Slots of each rank, for ranks with different memory. */
  readonly slotsPerRank?: readonly number[];
  /** Most bytes that the experts of one layer may take on each rank, and what one expert takes: caps the slots. */
  readonly memory?: { readonly bytesPerSlot: number; readonly budgetBytes: readonly number[] };
  /** Nodes with equally many consecutive ranks; default 1. */
  readonly nodes?: number;
  /** Groups of consecutive experts that a group-limited router chooses from; default 1 (no such rule). */
  readonly groups?: number;
  /** Relative speed of each rank (mixed devices); default all 1. */
  readonly speed?: readonly number[];
};

/**
 * The places of one expert-parallel group: `ranks` in order, rank r owns slots `slotStart[r] .. slotStart[r+1]-1`.
 * Where the router is group-limited (`groups` > 1 and a multiple of `nodes` > 1) a group lives whole on one node: `hierarchical`.
 */
export type Shape = {
  readonly experts: number;
  readonly ranks: number;
  readonly nodes: number;
  readonly groups: number;
  readonly slots: number;
  readonly slotStart: Int32Array;
  readonly speed: Float64Array;
  readonly nodeOf: Int32Array;
  /** Every rank has as many slots and the same speed. */
  readonly even: boolean;
  readonly hierarchical: boolean;
};

/** More experts of a layer, or ranks that share them, than any model or machine has: a slip, on which planning would take hours. */
export const MOST = 16_384;

/** The refusal of numbers above `MOST`; undefined where none is. */
export function tooMany(counts: Readonly<Record<string, number>>): TesseraError | undefined {
  const found = Object.entries(counts).find(([, value]) => value > MOST);
  const why = `at most ${MOST} / 至多 ${MOST}`;
  return found && fail("EXPERTS_SHAPE", { what: found[0], value: found[1], why });
}

/** Checks and completes a request. Errors: EXPERTS_SHAPE, EXPERTS_FEW_SLOTS, EXPERTS_MANY_SLOTS, EXPERTS_MEMORY. */
export function makeShape(request: ShapeRequest): Result<Shape> {
  const { experts, ranks } = request;
  const nodes = request.nodes ?? 1;
  const groups = request.groups ?? 1;
  for (const [what, value] of Object.entries({ experts, ranks, nodes, groups })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      return err(fail("EXPERTS_SHAPE", { what, value, why: "a whole number >= 1 is needed / 須為正整數" }));
    }
  }
  const many = tooMany({ experts, ranks });
  if (many) return err(many);
  if (ranks % nodes !== 0) return bad("nodes", nodes, `must divide ${ranks} ranks / 須整除進程數 ${ranks}`);
  if (experts % groups !== 0)
    return bad("groups", groups, `must divide ${experts} experts / 須整除專家數 ${experts}`);
  const counts = slotCounts(request);
  if (!counts.ok) return counts;
  const slotStart = new Int32Array(ranks + 1);
  for (let r = 0; r < ranks; r++) slotStart[r + 1] = (slotStart[r] as number) + (counts.value[r] as number);
  const slots = slotStart[ranks] as number;
  const speed = Float64Array.from(request.speed ?? Array.from({ length: ranks }, () => 1));
  if (speed.length !== ranks) return bad("speed", `${speed.length} values`, `${ranks} ranks / 進程`);
  const slow = speed.findIndex((value) => !(value > 0 && Number.isFinite(value)));
  if (slow >= 0) return bad("speed", speed[slow] as number, `rank ${slow}: > 0`);
  const perNode = ranks / nodes;
  const shape: Shape = {
    experts,
    ranks,
    nodes,
    groups,
    slots,
    slotStart,
    speed,
    nodeOf: Int32Array.from({ length: ranks }, (_, r) => Math.floor(r / perNode)),
    even: counts.value.every((count) => count === counts.value[0]) && speed.every((v) => v === speed[0]),
    hierarchical: nodes > 1 && groups > 1 && groups % nodes === 0,
  };
  return feasible(shape);
}

const bad = (what: string, value: string | number, why: string): Result<never> =>
  err(fail("EXPERTS_SHAPE", { what, value, why }));

/** Slots of each rank: as given, or equally many, cut to what the memory holds. */
function slotCounts(request: ShapeRequest): Result<number[]> {
  const { experts, ranks, memory } = request;
  let counts: number[];
  if (request.slotsPerRank) {
    counts = [...request.slotsPerRank];
    if (counts.length !== ranks)
      return bad("slotsPerRank", `${counts.length} values`, `${ranks} ranks / 進程`);
    const wrong = counts.findIndex((count) => !Number.isSafeInteger(count) || count < 1);
    if (wrong >= 0) return bad("slotsPerRank", counts[wrong] as number, `rank ${wrong}: whole number >= 1`);
  } else {
    const slots = request.slots ?? experts;
    if (!Number.isSafeInteger(slots) || slots < 1) return bad("slots", slots, "whole number >= 1 / 正整數");
    if (slots < experts)
      return err(fail("EXPERTS_FEW_SLOTS", { slots, experts, where: "each layer / 每層" }));
    if (slots % ranks !== 0) {
      const next = Math.ceil(slots / ranks) * ranks;
      return bad(
        "slots",
        slots,
        `must be a multiple of ${ranks} ranks, such as ${next} / 須為進程數 ${ranks} 的倍數，例如 ${next}`,
      );
    }
    counts = Array.from({ length: ranks }, () => slots / ranks);
  }
  if (memory) {
    if (!(memory.bytesPerSlot > 0)) return bad("memory.bytesPerSlot", memory.bytesPerSlot, "> 0");
    if (memory.budgetBytes.length !== ranks) {
      return bad("memory.budgetBytes", `${memory.budgetBytes.length} values`, `${ranks} ranks / 進程`);
    }
    counts = counts.map((count, r) =>
      Math.min(count, Math.floor((memory.budgetBytes[r] as number) / memory.bytesPerSlot)),
    );
    const room = counts.reduce((sum, count) => sum + Math.max(0, count), 0);
    if (room < experts || counts.some((count) => count < 1)) {
      return err(fail("EXPERTS_MEMORY", { slots: room, experts }));
    }
  }
  return ok(counts);
}

/** Slots hold every expert, and no rank has more slots than there are experts that may stand on it. */
function feasible(shape: Shape): Result<Shape> {
  const parts = shape.hierarchical ? shape.nodes : 1;
  const experts = shape.experts / parts;
  const perPart = shape.ranks / parts;
  for (let part = 0; part < parts; part++) {
    const first = part * perPart;
    const slots = (shape.slotStart[first + perPart] as number) - (shape.slotStart[first] as number);
    const where = parts === 1 ? "each layer / 每層" : `node ${part} / 節點 ${part}`;
    if (slots < experts) return err(fail("EXPERTS_FEW_SLOTS", { slots, experts, where }));
    for (let r = first; r < first + perPart; r++) {
      if (slotsOf(shape, r) > experts) {
        return err(fail("EXPERTS_MANY_SLOTS", { slots, ranks: perPart, most: perPart * experts, where }));
      }
    }
  }
  return ok(shape);
}

/** One value for each rank, `fallback` where none is named. Errors: EXPERTS_RANK for a rank that does not exist. */
export function valuesOfRanks(
  ranks: number,
  named: ReadonlyMap<number, number>,
  fallback: number,
): Result<number[]> {
  const many = tooMany({ ranks });
  if (many) return err(many);
  for (const rank of named.keys()) {
    if (!Number.isSafeInteger(rank) || rank < 0 || rank >= ranks) {
      return err(fail("EXPERTS_RANK", { rank, ranks, last: ranks - 1 }, { rank }));
    }
  }
  return ok(Array.from({ length: ranks }, (_, r) => named.get(r) ?? fallback));
}

/** Slots of one rank. */
export const slotsOf = (shape: Shape, rank: number): number =>
  (shape.slotStart[rank + 1] as number) - (shape.slotStart[rank] as number);
