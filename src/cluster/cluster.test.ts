import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  clusterDevices,
  type CollectiveKind,
  collectiveSeconds,
  DEVICES,
  type Link,
  membersByLevel,
  messageSeconds,
  type NodeGroup,
  parseCluster,
  presetCluster,
  presetGroup,
} from "./index.ts";

const h100 = () => presetCluster("h100", 64) as NonNullable<ReturnType<typeof presetCluster>>;
const wires = () => {
  const cluster = h100();
  return { links: (cluster.groups[0] as (typeof cluster.groups)[0]).links, collectiveSeconds: 2e-5 };
};
const minimal = () => ({
  groups: [{ device: "h100", nodes: 2 }],
});

test("every device preset has a wiring and plausible numbers", () => {
  for (const device of DEVICES) {
    const cluster = presetCluster(device.id, device.id === "cpu" ? 4 : 16);
    expect(cluster, device.id).toBeDefined();
    expect(device.contextBytes).toBeLessThan(device.memoryBytes);
    for (const key of ["gemm", "groupedGemm", "memory", "attentionForward", "attentionBackward"] as const) {
      expect(device.efficiency[key]).toBeGreaterThan(0);
      expect(device.efficiency[key]).toBeLessThanOrEqual(1);
    }
  }
  expect(clusterDevices(presetCluster("910c", 512) as NonNullable<ReturnType<typeof presetCluster>>)).toBe(
    512,
  );
  expect(presetCluster("910c", 513)).toBeUndefined();
});

describe("collectives", () => {
  test("members by level follow the stride", () => {
    expect(membersByLevel(wires().links, { size: 16, stride: 1 })).toEqual([8, 16]);
    expect(membersByLevel(wires().links, { size: 16, stride: 4 })).toEqual([2, 16]);
    expect(membersByLevel(wires().links, { size: 4, stride: 8 })).toEqual([1, 4]);
  });

  test("a ring gather inside one node costs its share at NVLink speed", () => {
    const link = wires().links[0] as Link;
    const seconds = collectiveSeconds(wires(), "allGather", 8e9, { size: 8, stride: 1 });
    expect(seconds).toBeCloseTo(2e-5 + 7 * link.latency + 7e9 / (link.bandwidth * link.efficiency), 9);
  });

  test("GPU nodes are joined by rings: two of them pass on nearly the whole tensor, not half of it", () => {
    for (const id of ["a100", "h100", "b200", "mi355x"]) {
      const { links } = presetGroup(id, 16) as NodeGroup;
      const last = links.at(-1) as Link;
      const free = links.map((link) => ({ ...link, latency: 0 }));
      const seconds = (kind: "allGather" | "allReduce") =>
        collectiveSeconds({ links: free, collectiveSeconds: 0 }, kind, 8e9, { size: 16, stride: 1 });
      const edge = (8e9 * 15) / 16 / 8 / (last.bandwidth * last.efficiency);
      const inside = (8e9 * 7) / 8 / ((links[0] as Link).bandwidth * (links[0] as Link).efficiency);
      expect(seconds("allGather"), id).toBeCloseTo(Math.max(edge, inside), 9);
      expect(seconds("allReduce"), id).toBeCloseTo(2 * Math.max(edge, inside), 9);
    }
  });

  test("one ring through all members loads the edges between blocks with nearly the whole tensor", () => {
    const bytes = 8e9;
    const links: readonly Link[] = [
      { name: "switch", span: 4, bandwidth: 20e9, efficiency: 1, latency: 0 },
      { name: "sockets", span: 8, bandwidth: 4e9, efficiency: 1, latency: 0, ring: true },
    ];
    const seconds = (size: number, stride: number) =>
      collectiveSeconds({ links, collectiveSeconds: 0 }, "allGather", bytes, { size, stride });
    // The slow obvious twin: every edge of a ring carries all pieces but one; edges that cross share what a block's devices have.
    const twin = (size: number, stride: number): number => {
      const rings = 8 / size;
      const crossing = 4 * 4e9;
      const edge = (bytes * (size - 1)) / size;
      return Math.max((rings * edge) / crossing, 4 / stride > 1 ? edge / 20e9 : 0);
    };
    for (const [size, stride] of [
      [8, 1],
      [4, 2],
      [2, 4],
    ] as const)
      expect(seconds(size, stride)).toBeCloseTo(twin(size, stride), 9);
    expect(seconds(4, 1)).toBeCloseTo((0.75 * bytes) / 20e9, 9);
    const read = (ring: unknown) =>
      parseCluster({
        groups: [{ device: "h100", nodes: 1, links: [{ name: "a", span: "all", bandwidthGBs: 10, ring }] }],
      });
    const found = read(true);
    expect(found.ok && found.value.groups[0]?.links[0]?.ring).toBe(true);
    expect(read("yes").ok).toBe(false);
  });

  test("time grows with bytes, and no group costs nothing", () => {
    fc.assert(
      fc.property(
        fc.constantFrom<CollectiveKind>("allGather", "reduceScatter", "allReduce", "allToAll", "broadcast"),
        fc.integer({ min: 2, max: 64 }),
        fc.integer({ min: 1, max: 16 }),
        fc.double({ min: 1, max: 1e10, noNaN: true }),
        (kind, size, stride, bytes) => {
          const one = collectiveSeconds(wires(), kind, bytes, { size, stride });
          expect(one).toBeGreaterThan(0);
          expect(collectiveSeconds(wires(), kind, bytes * 2, { size, stride })).toBeGreaterThan(one);
          expect(collectiveSeconds(wires(), kind, bytes, { size: 1, stride })).toBe(0);
        },
      ),
    );
  });

  test("a larger group never exchanges the same bytes faster, and sending once to a block never costs more", () => {
    fc.assert(
      fc.property(
        fc.constantFrom<CollectiveKind>("allGather", "reduceScatter", "allReduce", "allToAll"),
        fc.constantFrom(2, 4, 8, 16, 32, 64, 128),
        fc.double({ min: 1e3, max: 1e10, noNaN: true }),
        (kind, size, bytes) => {
          const of = (n: number) => collectiveSeconds(wires(), kind, bytes, { size: n, stride: 1 });
          expect(of(2 * size)).toBeGreaterThanOrEqual(of(size) * (1 - 1e-12));
          const once = collectiveSeconds(wires(), "allToAll", bytes, { size, stride: 1 }, () => 0.5);
          expect(once).toBeLessThanOrEqual(
            collectiveSeconds(wires(), "allToAll", bytes, { size, stride: 1 }),
          );
        },
      ),
    );
  });

  test("an all-reduce costs what its two halves cost", () => {
    const span = { size: 16, stride: 1 };
    const halves =
      collectiveSeconds(wires(), "reduceScatter", 1e9, span) +
      collectiveSeconds(wires(), "allGather", 1e9, span);
    expect(collectiveSeconds(wires(), "allReduce", 1e9, span)).toBeCloseTo(halves - 2e-5, 9);
  });

  test("a message takes the narrowest block that holds both ends", () => {
    expect(messageSeconds(wires(), 1e9, 1)).toBeLessThan(messageSeconds(wires(), 1e9, 8));
    expect(messageSeconds(wires(), 1e9, 0)).toBe(0);
  });
});

describe("cluster files", () => {
  const code = (data: unknown) => {
    const result = parseCluster(data, "c.yaml");
    return result.ok ? "ok" : result.error.code;
  };

  test("a preset needs only its nodes", () => {
    const result = parseCluster(minimal());
    expect(result.ok && clusterDevices(result.value)).toBe(16);
  });

  test("a device can be described in full, or changed from a preset", () => {
    const result = parseCluster({
      name: "low",
      groups: [
        {
          device: { preset: "910b2", memoryGiB: 32, efficiency: { gemm: 0.5, origin: "measured" } },
          nodes: 3,
          links: [
            { name: "HCCS", span: 8, bandwidthGBs: 100 },
            { name: "net", span: "all", bandwidthGBs: 12.5 },
          ],
        },
        {
          device: { id: "mine", memoryGiB: 24, bf16Tflops: 80, memoryBandwidthGBs: 900 },
          nodes: 1,
          devicesPerNode: 4,
          hostMemoryGiB: 256,
          links: [{ span: 4, bandwidthGBs: 20 }],
        },
      ],
      between: { bandwidthGBs: 10, latencyMicroseconds: 20 },
    });
    expect(result.ok).toBe(true);
    if (!result.ok) return;
    expect(result.value.groups[0]?.device.memoryBytes).toBe(32 * 1024 ** 3);
    expect(result.value.groups[0]?.device.efficiency.gemm).toBe(0.5);
    expect(result.value.groups[1]?.device.efficiency.origin).toBe("assumed");
    expect(clusterDevices(result.value)).toBe(28);
  });

  test.each([
    ["zero nodes", { groups: [{ device: "h100", nodes: 0 }] }, "CLUSTER_EMPTY"],
    ["no groups", { groups: [] }, "CLUSTER_EMPTY"],
    ["half a node", { groups: [{ device: "h100", nodes: 1.5 }] }, "CLUSTER_SHAPE"],
    ["unknown device", { groups: [{ device: "h1000", nodes: 1 }] }, "CLUSTER_PRESET"],
    ["unknown key", { groups: [{ device: "h100", nodes: 1, node: 3 }] }, "CLUSTER_SHAPE"],
    [
      "a unit in the value",
      { groups: [{ device: "h100", nodes: 1, hostMemoryGiB: "2 TB" }] },
      "CLUSTER_SHAPE",
    ],
    [
      "bits for bytes",
      { groups: [{ device: "h100", nodes: 1, links: [{ span: 8, bandwidthGBs: 400e9 }] }] },
      "CLUSTER_RANGE",
    ],
    [
      "negative bandwidth",
      { groups: [{ device: "h100", nodes: 1, links: [{ span: 8, bandwidthGBs: -1 }] }] },
      "CLUSTER_RANGE",
    ],
    ["NaN", { groups: [{ device: "h100", nodes: 1, hostMemoryGiB: Number.NaN }] }, "CLUSTER_RANGE"],
    [
      "levels that shrink",
      {
        groups: [
          {
            device: "h100",
            nodes: 1,
            links: [
              { span: 8, bandwidthGBs: 9 },
              { span: 4, bandwidthGBs: 9 },
            ],
          },
        ],
      },
      "CLUSTER_LEVELS",
    ],
    [
      "no link between groups",
      {
        groups: [
          { device: "h100", nodes: 1 },
          { device: "a100", nodes: 1 },
        ],
      },
      "CLUSTER_SHAPE",
    ],
    ["a list", [], "CLUSTER_SHAPE"],
    [
      "a custom device without memory",
      { groups: [{ device: { bf16Tflops: 3 }, nodes: 1 }] },
      "CLUSTER_SHAPE",
    ],
  ])("%s is refused", (_name, data, expected) => {
    expect(code(data)).toBe(expected);
  });

  test("no plain data makes the reader crash", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (data) => {
        parseCluster(data);
        parseCluster({ groups: [data] });
        parseCluster({ groups: [{ device: "h100", nodes: 1, links: [data] }] });
        parseCluster({
          groups: [
            { device: "h100", nodes: 1 },
            { device: "h100", nodes: 1 },
          ],
          between: data,
        });
      }),
    );
  });
});
