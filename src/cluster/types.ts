import type { CollectiveCurve, KernelCurves } from "./profile.ts";

/** Number formats a matrix engine multiplies in. fp4 stands for every 4-bit block format. */
export type MathFormat = "fp32" | "bf16" | "fp8" | "fp4";

/**
 * How much of a device's data sheet real kernels reach: fractions of peak unless a unit is named.
 * `origin` says where the numbers come from, so that an estimate can tell measured from assumed.
 */
export type Efficiency = {
  /** Dense matrix products with every dimension large. */
  readonly gemm: number;
  /** One product per expert in one launch. */
  readonly groupedGemm: number;
  readonly attentionForward: number;
  readonly attentionBackward: number;
  /** What gathered (sparse, top-k) attention reaches, as a share of the dense attention's figures. */
  readonly sparseAttention: number;
  /** Streaming kernels: norms, activations, casts, permutations, optimizer. */
  readonly memory: number;
  /** Memory traffic of the element-wise code against a fully fused one: 1 when fused, 2 to 4 when eager. */
  readonly unfused: number;
  /** Seconds a kernel costs before it does any work, as seen by a stream that is kept fed. */
  readonly launchSeconds: number;
  /** Inner length of a product at which filling and draining the pipeline costs as much as the work. */
  readonly halfDimension: number;
  /** Matrix cores that take output tiles in parallel: the last round of tiles may leave some idle. 0: not modelled. */
  readonly matrixCores: number;
  /** Share of the data-sheet gain that 8-bit and 4-bit products keep over bf16. */
  readonly lowPrecision: number;
  /** Where the power limit, not the clock, sets the pace of long matrix work; absent: never. */
  readonly power?: PowerLimit;
  readonly origin: "measured" | "fitted" | "assumed";
};

/**
 * Average power against a device's limit: `matrix` is what matrix work draws at the clock of short kernels, `other` what the
 * device draws the rest of the time, both over the limit.
 */
export type PowerLimit = { readonly matrix: number; readonly other: number };

/** One logical accelerator that a rank drives: a GPU, or one die of a two-die package. */
export type Device = {
  readonly id: string;
  readonly title: string;
  readonly vendor: "huawei" | "nvidia" | "amd" | "moorethreads" | "cpu" | "other";
  /** Bytes a process can see, and the part of them the driver, contexts and libraries hold before any tensor. */
  readonly memoryBytes: number;
  readonly contextBytes: number;
  /** Dense peak, FLOP/s. bf16 is the reference of every utilisation figure. */
  readonly peak: {
    readonly bf16: number;
    readonly fp32?: number;
    readonly fp8?: number;
    readonly fp4?: number;
  };
  /** Bytes/s of the device memory. */
  readonly memoryBandwidth: number;
  /** Bytes/s, one direction, between one device and its host's memory when all devices of the node copy. */
  readonly hostBandwidth: number;
  readonly efficiency: Efficiency;
  /** Curves of a measured profile; where there is one, it answers instead of peak and efficiency. */
  readonly measured?: KernelCurves;
};

/**
 * One level of the network: every device reaches every other inside a block of `span` devices at this speed.
 * Levels are listed from the fastest and smallest to the slowest and largest; a level contains the ones before it.
 */
export type Link = {
  readonly name: string;
  readonly span: number;
  /** Bytes/s one direction per device, data sheet. */
  readonly bandwidth: number;
  /** Fraction of the bandwidth that collectives reach with large messages. */
  readonly efficiency: number;
  /** Seconds per hop. */
  readonly latency: number;
  /**
   * Gathers and scatters cross this level in one ring through all members (NCCL between nodes and sockets), so that each of its edges
   * carries nearly the whole tensor; absent: blocks exchange among themselves what the others lack.
   */
  readonly ring?: boolean;
};

/** Equal nodes. A cluster with several groups is a mixed cluster; ranks run through the groups in order. */
export type NodeGroup = {
  readonly device: Device;
  readonly nodes: number;
  readonly devicesPerNode: number;
  readonly hostMemoryBytes: number;
  readonly links: readonly Link[];
  /** Collectives as measured inside a node; they answer for the groups they cover, links for wider ones. */
  readonly collectives?: readonly CollectiveCurve[];
  /** Processor cores that the node's devices share, where the devices are processes: more of them than cores take turns. */
  readonly cores?: number;
};

export type Cluster = {
  readonly name: string;
  readonly groups: readonly NodeGroup[];
  /** Seconds a collective costs beside hops and bytes (kernel start, rendezvous). */
  readonly collectiveSeconds: number;
  /** Link between different groups; present when there is more than one. */
  readonly between?: Link;
};

export const groupDevices = (group: NodeGroup): number => group.nodes * group.devicesPerNode;
export const clusterDevices = (cluster: Cluster): number =>
  cluster.groups.reduce((sum, group) => sum + groupDevices(group), 0);
