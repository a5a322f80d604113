import type { MoeFeedForward } from "../../model/types.ts";

/** Chance that none of `picks` experts drawn from `all` lies among `inside` of them. */
function missed(all: number, inside: number, picks: number): number {
  let chance = 1;
  for (let i = 0; i < picks; i++) chance *= Math.max(0, all - inside - i) / (all - i);
  return chance;
}

/** Ways to choose k of n. */
function choose(n: number, k: number): number {
  let ways = 1;
  for (let i = 0; i < k; i++) ways *= (n - i) / (i + 1);
  return ways;
}

/**
 * Expected number of `blocks` equal parts of a layer's experts that a token's choice touches, every expert being as likely.
 * Group-limited routing (DeepSeek-V3) draws only from a few groups, so a token visits fewer parts. `consecutive`: the choice is a
 * run of experts side by side that starts at a multiple of its length, as a benchmark's balanced gate deals them out.
 */
export function visitedBlocks(
  spec: Pick<MoeFeedForward, "experts" | "topK" | "groups">,
  blocks: number,
  consecutive = false,
): number {
  const { experts, topK, groups } = spec;
  if (consecutive) return Math.min(blocks, Math.max(1, (topK * blocks) / experts));
  if (!groups || groups.chosen >= groups.count) return blocks * (1 - missed(experts, experts / blocks, topK));
  const { count, chosen } = groups;
  const group = experts / count;
  const open = chosen * group;
  // A part inside one group is open when its group is.
  if (blocks >= count) return ((blocks * chosen) / count) * (1 - missed(open, experts / blocks, topK));
  const held = Math.round(count / blocks);
  let untouched = 0;
  for (let own = 0; own <= Math.min(held, chosen); own++) {
    const chance = (choose(held, own) * choose(count - held, chosen - own)) / choose(count, chosen);
    untouched += chance * missed(open, own * group, topK);
  }
  return blocks * (1 - untouched);
}
