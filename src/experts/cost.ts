import type { Move } from "./moves.ts";
import type { Shape } from "./shape.ts";

/** What time and transfers cost. Measured values make the forecast true; the defaults of a plan come from the cluster's data sheet. */
export type CostModel = {
  /** Seconds one routed token takes in one layer on a rank of speed 1, forward and backward, all micro-batches of a step counted. */
  readonly secondsPerToken: number;
  /** Bytes that move with one expert: weights, master weights and every moment (14 B a parameter for mixed-precision AdamW). */
  readonly bytesPerExpert: number;
  /** Bandwidth of one rank to others on its node, and over the network. */
  readonly nodeBytesPerSecond: number;
  readonly networkBytesPerSecond: number;
  /** Seconds a relocation costs whatever it moves (barriers, rebuilt maps), and for each layer that changes. Default 0. */
  readonly fixedSeconds?: number;
  readonly layerSeconds?: number;
  /** Relative standard deviations of measured costs: of a token's seconds, of a move's. Default 0. */
  readonly spread?: { readonly token: number; readonly move: number };
  /** Pipeline stage of each layer: stages work side by side, so the slowest one counts. Default: one stage. */
  readonly stageOf?: readonly number[];
};

export type Traffic = {
  readonly transfers: number;
  readonly nodeBytes: number;
  readonly networkBytes: number;
};

/** Bytes of moves by link class. */
export function trafficOf(moves: readonly Move[], cost: Pick<CostModel, "bytesPerExpert">): Traffic {
  let network = 0;
  for (const move of moves) if (move.link === "network") network++;
  return {
    transfers: moves.length,
    nodeBytes: (moves.length - network) * cost.bytesPerExpert,
    networkBytes: network * cost.bytesPerExpert,
  };
}

/** Seconds to move one layer's experts: the rank with most to send or receive, its two links one after the other. */
export function moveSeconds(shape: Shape, moves: readonly Move[], cost: CostModel): number {
  // [rank][out, in] per link
  const node = new Int32Array(shape.ranks * 2);
  const network = new Int32Array(shape.ranks * 2);
  for (const move of moves) {
    const count = move.link === "node" ? node : network;
    count[move.from * 2] = (count[move.from * 2] as number) + 1;
    count[move.to * 2 + 1] = (count[move.to * 2 + 1] as number) + 1;
  }
  let worst = 0;
  for (let i = 0; i < shape.ranks * 2; i++) {
    const seconds =
      ((node[i] as number) * cost.bytesPerExpert) / cost.nodeBytesPerSecond +
      ((network[i] as number) * cost.bytesPerExpert) / cost.networkBytesPerSecond;
    if (seconds > worst) worst = seconds;
  }
  return moves.length === 0 ? 0 : worst + (cost.layerSeconds ?? 0);
}

/** Step seconds of the experts: per stage the sum of its layers, over stages the slowest. */
export function slowestStage(
  layerSeconds: readonly number[],
  stageOf: readonly number[] | undefined,
): number {
  const sums = new Map<number, number>();
  layerSeconds.forEach((seconds, l) => {
    const stage = stageOf?.[l] ?? 0;
    sums.set(stage, (sums.get(stage) ?? 0) + seconds);
  });
  return Math.max(0, ...sums.values());
}
