import { err, ok, type Result } from "../base/index.ts";
import { clusterFail } from "./errors.ts";
import { MOST_DEVICES } from "./parse.ts";
import { DEVICES, presetCluster, WIRINGS } from "./presets.ts";
import type { Cluster, Link } from "./types.ts";

/** Kinds of devices named together meet on an ordinary network: 100 Gb/s each. */
const BETWEEN: Link = {
  name: "RoCE",
  span: Number.POSITIVE_INFINITY,
  bandwidth: 12.5e9,
  efficiency: 0.8,
  latency: 20e-6,
};

/**
 * A cluster by its name: preset and devices, several joined by `+`.
 *
 * @param partial allow counts that do not fill whole nodes: as many of each node as divide the count
 * @example unwrap(namedCluster("h100:64")); unwrap(namedCluster("h100:32+a100:32"))
 * // errors: CLUSTER_NAME, CLUSTER_PRESET, CLUSTER_DEVICES, CLUSTER_RANGE
 */
export function namedCluster(text: string, partial = false): Result<Cluster> {
  const parts: Cluster[] = [];
  for (const part of text.split("+")) {
    const found = onePart(part.trim(), partial);
    if (!found.ok) return found;
    parts.push(found.value);
  }
  const [first, ...more] = parts as [Cluster, ...Cluster[]];
  if (more.length === 0) return ok(first);
  return ok({
    ...first,
    name: parts.map(({ name }) => name).join(" + "),
    groups: parts.flatMap((cluster) => cluster.groups),
    between: BETWEEN,
  });
}

function onePart(part: string, partial: boolean): Result<Cluster> {
  const [id = "", written, ...more] = part.split(":");
  const known = DEVICES.map((device) => device.id).join(", ");
  if (written === undefined || more.length > 0)
    return err(clusterFail("CLUSTER_NAME", { text: part, known }));
  const perNode = WIRINGS[id]?.perNode;
  if (perNode === undefined) return err(clusterFail("CLUSTER_PRESET", { path: "", name: id, known }));
  const devices = Number(written);
  if (!/^\d+$/.test(written) || devices < 1) return err(clusterFail("CLUSTER_NAME", { text: part, known }));
  if (devices > MOST_DEVICES) {
    const params = { path: part, value: devices, low: 1, high: MOST_DEVICES, unit: "devices" };
    return err(clusterFail("CLUSTER_RANGE", params));
  }
  const whole = presetCluster(id, devices);
  if (whole) return ok(whole);
  if (!partial) return err(clusterFail("CLUSTER_DEVICES", { devices, perNode }));
  let used = perNode;
  while (devices % used !== 0) used--;
  const base = presetCluster(id, perNode) as Cluster;
  return ok({
    ...base,
    name: `${devices} x ${base.groups[0]?.device.title}`,
    groups: base.groups.map((group) => ({ ...group, devicesPerNode: used, nodes: devices / used })),
  });
}
