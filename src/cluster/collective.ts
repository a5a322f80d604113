import { type CollectiveCurve, measuredCollective } from "./profile.ts";
import type { Link } from "./types.ts";

/**
 * Time of collectives on a hierarchy of links.
 *
 * Every rank of a group sits `stride` devices from the next. At each level some of its members share a block; the bytes a
 * rank must exchange across that level and the hops it needs follow from how many. Levels work at the same time (libraries
 * pipeline chunks through them), so bytes cost the slowest level while the hops add up. Latency and start cost make small
 * messages slow, which gives the usual bandwidth-by-size curve. Alpha-beta form: Thakur, Rabenseifner, Gropp (2005).
 */
export type Wires = {
  readonly links: readonly Link[];
  readonly collectiveSeconds: number;
  /** What was measured answers before the links do. */
  readonly measured?: readonly CollectiveCurve[];
};

/** Where a group's ranks lie: how many, and how far apart in device numbers. */
export type Span = { readonly size: number; readonly stride: number };

export type CollectiveKind = "allGather" | "reduceScatter" | "allReduce" | "allToAll" | "broadcast";

/** Members of the group inside one block of each level: non-decreasing, the last equals the size. */
export function membersByLevel(links: readonly Link[], span: Span): number[] {
  let before = 1;
  return links.map((link, level) => {
    const last = level === links.length - 1;
    const here = last ? span.size : Math.min(span.size, Math.max(1, Math.floor(link.span / span.stride)));
    before = Math.max(before, here);
    return before;
  });
}

/**
 * Seconds of one collective.
 *
 * @param bytes the whole tensor: gathered output, scattered input, reduced buffer; for allToAll what one rank sends
 *   including the part for itself
 * @param kept allToAll only: share of the bytes left when what several members of a block want is sent there once, for a group
 *   that lies in so many blocks
 */
export function collectiveSeconds(
  wires: Wires,
  kind: CollectiveKind,
  bytes: number,
  span: Span,
  kept: (blocks: number) => number = () => 1,
): number {
  const n = span.size;
  if (n <= 1 || bytes <= 0) return 0;
  const known = wires.measured && measuredCollective(wires.measured, kind, bytes, span);
  if (known !== undefined) return known;
  const members = membersByLevel(wires.links, span);
  let transfer = 0;
  let hops = 0;
  let inner = 1;
  for (let level = 0; level < wires.links.length; level++) {
    const link = wires.links[level] as Link;
    const here = members[level] as number;
    const fan = here / inner;
    if (fan > 1) {
      const speed = link.bandwidth * link.efficiency;
      // Ring share of a reduce or gather: the blocks below carry the tensor together, each an equal slice of it.
      const share =
        kind === "allToAll"
          ? (kept(n / inner) * (here - inner)) / n
          : kind === "broadcast"
            ? 1 / inner
            : (link.ring ? (here - 1) / here : (fan - 1) / fan) / inner;
      const rounds = kind === "allReduce" ? 2 : 1;
      transfer = Math.max(transfer, (rounds * bytes * share) / speed);
      hops += rounds * link.latency * hopCount(kind, fan);
    }
    inner = here;
  }
  return wires.collectiveSeconds + hops + transfer;
}

/** Hops in a row: a ring goes round, beyond eight members trees take over; an all-to-all keeps eight peers in flight. */
const hopCount = (kind: CollectiveKind, fan: number): number =>
  fan <= 8 ? fan - 1 : kind === "allToAll" ? 7 + (fan - 8) / 8 : 7 + 2 * Math.log2(fan / 8);

/** Seconds of one message between two devices `distance` apart (in device numbers). */
export function messageSeconds(wires: Wires, bytes: number, distance: number): number {
  const link = wires.links.find((candidate) => distance < candidate.span) ?? wires.links.at(-1);
  if (!link || distance === 0) return 0;
  const known =
    wires.measured && measuredCollective(wires.measured, "message", bytes, { size: 2, stride: distance });
  if (known !== undefined) return known;
  return wires.collectiveSeconds / 2 + link.latency + bytes / (link.bandwidth * link.efficiency);
}

/** Narrowest link a group crosses, for explanations. */
export function slowestLink(links: readonly Link[], span: Span): Link {
  const members = membersByLevel(links, span);
  const level = members.findIndex((count) => count === span.size);
  return links[level] as Link;
}
