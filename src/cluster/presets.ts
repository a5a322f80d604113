import type { Cluster, Device, Efficiency, Link, NodeGroup } from "./types.ts";

const T = 1e12;
const G = 1e9;
const GiB = 1024 ** 3;

/**
 * What well-tuned kernels and fused element-wise code reach on a device nobody has measured for us. Devices of which a training run
 * is published have the pace of one (`atPace`): the run in the middle of the ratios of its device in `bench/layout/time.ts`.
 */
export const ASSUMED: Efficiency = {
  gemm: 0.7,
  groupedGemm: 0.55,
  attentionForward: 0.5,
  attentionBackward: 0.42,
  sparseAttention: 0.4,
  memory: 0.8,
  unfused: 1,
  launchSeconds: 2e-6,
  halfDimension: 96,
  matrixCores: 132,
  lowPrecision: 0.9,
  origin: "assumed",
};
/** The same kernels at another pace: what a whole run reaches of what single kernels promise. */
export function atPace(efficiency: Efficiency, pace: number): Efficiency {
  const { gemm, groupedGemm, attentionForward, attentionBackward, memory, launchSeconds } = efficiency;
  return {
    ...efficiency,
    gemm: gemm * pace,
    groupedGemm: groupedGemm * pace,
    attentionForward: attentionForward * pace,
    attentionBackward: attentionBackward * pace,
    memory: memory * pace,
    launchSeconds: launchSeconds / pace,
  };
}
/** Hopper at the pace of DeepSeek-V3 on 256 H100 under bf16. */
const HOPPER: Efficiency = { ...atPace(ASSUMED, 0.91), origin: "fitted" };
/**
 * Six constants fitted by bench/layout/fit-b200.ts on the 4-micro-batch rows of SimuMax's published B200 measurements, and on
 * nothing else; memory, power and the links are that release's own measurements of kernels and collectives.
 */
const B200: Efficiency = {
  gemm: 0.614,
  groupedGemm: 0.734,
  attentionForward: 0.521,
  attentionBackward: 0.492,
  sparseAttention: 0.4,
  memory: 0.69,
  unfused: 1.87,
  launchSeconds: 9.23e-6,
  halfDimension: 28.9,
  matrixCores: 148,
  lowPrecision: 0.7,
  // Short products reach 0.63 of the peak, long ones 0.49: the limit leaves them 0.78 of the clock. `other` is assumed.
  power: { matrix: 1.65, other: 0.5 },
  origin: "fitted",
};
/** Siblings of B200 under tuned stacks, each at the pace of one run; matrix power scales with peak over limit, from the 1,000 W of B200. */
const blackwell = (peak: number, watts: number, pace: number): Efficiency => ({
  ...atPace(ASSUMED, pace),
  matrixCores: 148,
  power: { matrix: 1.65 * (peak / 2250) * (1000 / watts), other: 0.5 },
  origin: "fitted",
});
/**
 * 910 family. Attention, element-wise traffic and the fabric's efficiency are fitted on one published profile (DeepSeek-V4-Flash on
 * 128 dies, torchtitan-npu); its matrix time came out within 1 % before any fitting.
 */
const ASCEND: Efficiency = {
  ...ASSUMED,
  gemm: 0.72,
  groupedGemm: 0.6,
  attentionForward: 0.345,
  attentionBackward: 0.25,
  sparseAttention: 0.25,
  memory: 0.6,
  unfused: 3.19,
  launchSeconds: 8e-6,
  matrixCores: 24,
  origin: "fitted",
};

/**
 * A100 as published tables of single kernels and collectives have it (SimuMax, configs/system/a100_pcie.json: products of 40 shapes,
 * grouped products, attention, bytes); no training step is fitted.
 */
const A100: Efficiency = {
  ...ASSUMED,
  gemm: 0.78,
  groupedGemm: 0.82,
  attentionForward: 0.57,
  attentionBackward: 0.49,
  memory: 0.75,
  matrixCores: 108,
  origin: "fitted",
};

type Sheet = {
  title: string;
  vendor: Device["vendor"];
  memory: number;
  context: number;
  bf16: number;
  fp8?: number;
  fp4?: number;
  fp32?: number;
  bandwidth: number;
  host: number;
  efficiency?: Partial<Efficiency>;
};

function device(id: string, sheet: Sheet, base: Efficiency = ASSUMED): Device {
  const { bf16, fp8, fp4, fp32 } = sheet;
  return {
    id,
    title: sheet.title,
    vendor: sheet.vendor,
    memoryBytes: sheet.memory,
    contextBytes: sheet.context,
    peak: {
      bf16,
      ...(fp32 === undefined ? {} : { fp32 }),
      ...(fp8 === undefined ? {} : { fp8 }),
      ...(fp4 === undefined ? {} : { fp4 }),
    },
    memoryBandwidth: sheet.bandwidth,
    hostBandwidth: sheet.host,
    efficiency: { ...base, ...sheet.efficiency },
  };
}

const ascend = (title: string, tflops: number, memory: number, bandwidth: number): Sheet => ({
  title,
  vendor: "huawei",
  memory: memory * GiB,
  context: 1.6 * GiB,
  bf16: tflops * T,
  bandwidth,
  host: 16 * G,
});
const nvidia = (
  title: string,
  bf16: number,
  memory: number,
  bandwidth: number,
  more: Partial<Sheet> = {},
): Sheet => ({
  title,
  vendor: "nvidia",
  memory: memory * GiB,
  context: 1.1 * GiB,
  bf16: bf16 * T,
  bandwidth: bandwidth * T,
  host: 25 * G,
  ...more,
});

/**
 * Data sheets. Peaks are dense bf16 of the matrix engine; 910C is listed by die because each die is a device of its own.
 * Sources: vendor sheets and the peak tables of torchtitan-npu (Ascend) and AIConfigurator (NVIDIA system files).
 */
export const DEVICES: readonly Device[] = [
  device("910b1", ascend("Ascend 910B1", 373.9, 61.3, 1.6 * T), ASCEND),
  device("910b2", ascend("Ascend 910B2", 353.9, 61.3, 1.6 * T), ASCEND),
  device("910b3", ascend("Ascend 910B3", 294.9, 61.3, 1.6 * T), ASCEND),
  device("910b4", ascend("Ascend 910B4", 245.8, 30.6, 0.8 * T), ASCEND),
  device("910c", ascend("Ascend 910C die", 353.9, 61.3, 1.6 * T), ASCEND),
  device("950pr", { ...ascend("Ascend 950PR", 500, 119, 1.6 * T), fp8: 1000 * T, fp4: 2000 * T }, ASCEND),
  device("950dt", { ...ascend("Ascend 950DT", 500, 134, 4.0 * T), fp8: 1000 * T, fp4: 2000 * T }, ASCEND),
  device("a100", nvidia("NVIDIA A100 SXM 80 GB", 312, 79.2, 2.04), A100),
  device("a100-pcie", nvidia("NVIDIA A100 PCIe 80 GB", 312, 79.2, 1.94), A100),
  device("h100", nvidia("NVIDIA H100 SXM", 989, 79.2, 3.35, { fp8: 1979 * T }), HOPPER),
  device("h100-500w", nvidia("NVIDIA H100 96 GB HBM2e, 500 W", 989, 94.5, 2.4, { fp8: 1979 * T }), {
    // Llama-3.1-8B on eight of them.
    ...atPace(ASSUMED, 0.75),
    origin: "fitted",
  }),
  device("h800", nvidia("NVIDIA H800", 989, 79.2, 3.35, { fp8: 1979 * T }), HOPPER),
  device("h200", nvidia("NVIDIA H200", 989, 139.8, 4.8, { fp8: 1979 * T }), HOPPER),
  device("h20", nvidia("NVIDIA H20", 148, 95.6, 4.0, { fp8: 296 * T }), HOPPER),
  device(
    "b200",
    nvidia("NVIDIA B200", 2250, 178.4, 7.7, { fp8: 4500 * T, fp4: 9000 * T, host: 50 * G }),
    B200,
  ),
  device(
    "b300",
    nvidia("NVIDIA B300", 2250, 268, 7.75, { fp8: 4500 * T, fp4: 13500 * T, host: 50 * G }),
    blackwell(2250, 1100, 0.98),
  ),
  device(
    "gb200",
    nvidia("NVIDIA GB200", 2500, 184, 8.0, { fp8: 5000 * T, fp4: 10000 * T, host: 200 * G }),
    blackwell(2500, 1200, 0.93),
  ),
  device(
    "gb300",
    nvidia("NVIDIA GB300", 2500, 277, 8.0, { fp8: 5000 * T, fp4: 15000 * T, host: 200 * G }),
    blackwell(2500, 1400, 0.99),
  ),
  device("mi355x", {
    ...nvidia("AMD MI355X", 2500, 287, 8.0, { fp8: 5000 * T, fp4: 10000 * T }),
    vendor: "amd",
    context: 2 * GiB,
  }),
  device("mi325x", { ...nvidia("AMD MI325X", 1307, 255, 6.0, { fp8: 2615 * T }), vendor: "amd" }),
  device("s5000", {
    ...nvidia("Moore Threads MTT S5000", 500, 79, 1.6, { fp8: 1000 * T }),
    vendor: "moorethreads",
  }),
  device("cpu", {
    title: "CPU process",
    vendor: "cpu",
    memory: 4 * GiB,
    context: 0.35 * GiB,
    bf16: 0.06 * T,
    fp32: 0.06 * T,
    bandwidth: 10 * G,
    host: 10 * G,
    efficiency: { launchSeconds: 12e-6, halfDimension: 32, matrixCores: 0 },
  }),
];

/** How nodes of one device are wired: devices a node, host memory, and the levels of the network. */
type Wiring = {
  readonly device: string;
  readonly perNode: number;
  readonly hostGiB: number;
  readonly collectiveSeconds: number;
  readonly links: readonly Link[];
};
const link = (name: string, span: number, gbs: number, efficiency: number, microseconds: number): Link => ({
  name,
  span,
  bandwidth: gbs * G,
  efficiency,
  latency: microseconds * 1e-6,
});
const ALL = Number.POSITIVE_INFINITY;
/**
 * NCCL and RCCL gather and scatter between nodes in rings through all members. Six published A100 steps with tp over two nodes (vTrain)
 * are met within 5 % this way, and missed by 28 % by blocks that exchange only what the others lack.
 */
const ib = (gbs: number): Link => ({ ...link("InfiniBand", ALL, gbs, 0.85, 5), ring: true });
const nvlinkNode = (dev: string, nvlink: number, nic: number): Wiring => ({
  device: dev,
  perNode: 8,
  hostGiB: 2048,
  collectiveSeconds: 20e-6,
  links: [link("NVLink", 8, nvlink, 0.7, 1.5), ib(nic)],
});
const ascendNode = (dev: string): Wiring => ({
  device: dev,
  perNode: 8,
  hostGiB: 1536,
  collectiveSeconds: 40e-6,
  links: [link("HCCS", 8, 168, 0.75, 3), link("RoCE", ALL, 25, 0.8, 8)],
});
const nvl72 = (dev: string): Wiring => ({
  device: dev,
  perNode: 4,
  hostGiB: 960,
  collectiveSeconds: 20e-6,
  links: [link("NVLink", 72, 900, 0.673, 4), ib(100)],
});

export const WIRINGS: Readonly<Record<string, Wiring>> = {
  "910b1": ascendNode("910b1"),
  "910b2": ascendNode("910b2"),
  "910b3": ascendNode("910b3"),
  "910b4": { ...ascendNode("910b4"), links: [link("PCIe", 8, 24, 0.75, 6), link("RoCE", ALL, 12, 0.8, 8)] },
  // A supernode: 48 nodes of 8 two-die cards on one fabric; beyond it 400 Gb/s a card.
  "910c": {
    device: "910c",
    perNode: 16,
    hostGiB: 1536,
    collectiveSeconds: 40e-6,
    links: [link("die to die", 2, 270, 0.7, 2), link("UB", 768, 196, 0.39, 3), link("RDMA", ALL, 25, 0.8, 8)],
  },
  "950pr": {
    ...ascendNode("950pr"),
    links: [link("UB 2.0", 8192, 1000, 0.6, 3), link("RoCE", ALL, 50, 0.8, 8)],
  },
  "950dt": {
    ...ascendNode("950dt"),
    links: [link("UB 2.0", 8192, 1000, 0.6, 3), link("RoCE", ALL, 50, 0.8, 8)],
  },
  a100: nvlinkNode("a100", 300, 25),
  "a100-pcie": {
    ...nvlinkNode("a100-pcie", 0, 25),
    // Per device across the socket link: 16 GB/s shared by four, which is what SimuMax's table of collectives on such a node shows.
    links: [link("PCIe", 4, 30, 0.69, 5), { ...link("sockets", 8, 4, 1, 5), ring: true }, ib(25)],
  },
  h100: nvlinkNode("h100", 450, 50),
  "h100-500w": nvlinkNode("h100-500w", 450, 50),
  h800: nvlinkNode("h800", 200, 50),
  h200: nvlinkNode("h200", 450, 50),
  h20: nvlinkNode("h20", 450, 50),
  b200: {
    ...nvlinkNode("b200", 900, 50),
    // Means of gather and scatter fits in the same release's operator tables (nccl-tests on the node that ran the cases).
    collectiveSeconds: 24.3e-6,
    links: [link("NVLink", 8, 900, 0.673, 8.6), ib(50)],
  },
  b300: nvlinkNode("b300", 900, 100),
  gb200: nvl72("gb200"),
  gb300: nvl72("gb300"),
  mi355x: { ...nvlinkNode("mi355x", 540, 50), links: [link("Infinity Fabric", 8, 540, 0.6, 3), ib(50)] },
  mi325x: { ...nvlinkNode("mi325x", 448, 50), links: [link("Infinity Fabric", 8, 448, 0.6, 3), ib(50)] },
  s5000: { ...nvlinkNode("s5000", 392, 25), links: [link("MTLink", 8, 392, 0.6, 3), ib(25)] },
  cpu: {
    device: "cpu",
    perNode: 64,
    hostGiB: 16,
    collectiveSeconds: 250e-6,
    links: [link("loopback", 64, 1.5, 0.7, 60), link("Ethernet", ALL, 1, 0.8, 100)],
  },
};

export const findDevice = (id: string): Device | undefined => DEVICES.find((device) => device.id === id);

/** Node group of a preset, cut to `devices` devices: whole nodes, or one smaller node. */
export function presetGroup(id: string, devices: number): NodeGroup | undefined {
  const wiring = WIRINGS[id];
  const found = findDevice(id);
  if (!wiring || !found) return undefined;
  const perNode = Math.min(devices, wiring.perNode);
  if (!Number.isInteger(devices) || devices < 1 || devices % perNode !== 0) return undefined;
  return {
    device: found,
    nodes: devices / perNode,
    devicesPerNode: perNode,
    hostMemoryBytes: wiring.hostGiB * GiB,
    links: wiring.links,
  };
}

/**
 * A uniform cluster of `devices` devices of a preset. Devices are counted as ranks see them: dies on 910C.
 *
 * @example presetCluster("910c", 512) // 256 cards, 32 nodes
 */
export function presetCluster(id: string, devices: number): Cluster | undefined {
  const group = presetGroup(id, devices);
  const wiring = WIRINGS[id];
  if (!group || !wiring) return undefined;
  return {
    name: `${devices} x ${group.device.title}`,
    groups: [group],
    collectiveSeconds: wiring.collectiveSeconds,
  };
}
