/** Where a rank stands in a layout. Two orders of ranks exist; each is the inverse of its `rank` formula. */
import { type Layout, stageRanks } from "../layout.ts";
import { shardCounts } from "../memory/shards.ts";
import type { EngineKind } from "../memory/types.ts";

export type Coordinates = {
  readonly ppRank: number;
  readonly tpRank: number;
  readonly cpRank: number;
  /** Copy of the whole stage that this rank belongs to. */
  readonly replica: number;
  /** Place among the ranks that share dense tensors. */
  readonly shard: number;
  readonly epRank: number;
  readonly etpRank: number;
  /** Place among the ranks that share an expert. */
  readonly expertShard: number;
};

/**
 * Tessera: `rank = ((ppRank * dpReplicate + replica) * efsdp + expertShard) * ep + epRank`.
 * Megatron: within a stage tp counts fastest, then cp, then data; experts fold over the same ranks with etp fastest,
 * then ep, then expert data. Replicas of the optimizer shards count slowest.
 */
export function coordinates(layout: Layout, engine: EngineKind, rank: number): Coordinates {
  const ranks = stageRanks(layout);
  const ppRank = Math.floor(rank / ranks);
  const inside = rank % ranks;
  if (engine === "tessera") {
    const shard = inside % layout.dpShard;
    return {
      ppRank,
      tpRank: 0,
      cpRank: 0,
      replica: Math.floor(inside / layout.dpShard),
      shard,
      epRank: shard % layout.ep,
      etpRank: 0,
      expertShard: Math.floor(shard / layout.ep),
    };
  }
  const { tp, cp, etp, ep, dpShard } = layout;
  const tpRank = inside % tp;
  const cpRank = Math.floor(inside / tp) % cp;
  const data = Math.floor(inside / (tp * cp));
  const folded = Math.floor(inside / (etp * ep));
  return {
    ppRank,
    tpRank,
    cpRank,
    replica: Math.floor(data / dpShard),
    shard: (data % dpShard) * cp + cpRank,
    etpRank: inside % etp,
    epRank: Math.floor(inside / etp) % ep,
    expertShard: folded % shardCounts(layout).expert,
  };
}
