import { err, ok, type Result, type Text } from "../base/index.ts";
import { clusterFail } from "./errors.ts";
import { DEVICES, presetGroup } from "./presets.ts";
import { type DeviceProfile, FEATURES, PROFILE_SCHEMA } from "./profile.ts";
import type { Cluster, Device, Efficiency, MathFormat, NodeGroup } from "./types.ts";

const isObject = (data: unknown): data is Record<string, unknown> =>
  data !== null && typeof data === "object" && !Array.isArray(data);

/** Reads a profile from plain data; every curve must have the terms this version knows. */
export function parseProfile(data: unknown, file?: string): Result<DeviceProfile> {
  const place = file === undefined ? {} : { file };
  const bad = (path: string, en: string, zh: string) =>
    err(clusterFail("PROFILE_SHAPE", { path, problem: { en, zh } }, place));
  if (!isObject(data)) return bad("profile", "must be a mapping", "須為鍵值結構");
  if (data["schema"] !== PROFILE_SCHEMA) {
    return err(
      clusterFail("PROFILE_SCHEMA", { found: String(data["schema"] ?? "?"), wanted: PROFILE_SCHEMA }, place),
    );
  }
  const device = data["device"];
  if (!isObject(device) || typeof device["name"] !== "string" || typeof device["type"] !== "string") {
    return bad("device", "needs name and type", "須有 name 與 type");
  }
  for (const key of ["ranks", "memoryBandwidth", "hostBandwidth", "launchSeconds"]) {
    const value = data[key];
    if (typeof value !== "number" || !(value > 0))
      return bad(key, "must be a number above 0", "須為大於 0 的數");
  }
  if (data["cores"] !== null && !(typeof data["cores"] === "number" && data["cores"] >= 1)) {
    return bad("cores", "must be a number from 1, or null", "須為不小於 1 的數或 null");
  }
  const peak = data["peak"];
  const kernels = data["kernels"];
  if (!isObject(peak) || !Object.values(peak).some((v) => typeof v === "number" && v > 0)) {
    return bad("peak", "must name the FLOP/s of a format", "須給出某格式的 FLOP/s");
  }
  if (!isObject(kernels)) return bad("kernels", "must be a mapping", "須為鍵值結構");
  const problem = (path: string, curve: unknown, terms: number): Text | undefined => {
    const numbers = isObject(curve) && Array.isArray(curve["terms"]) ? (curve["terms"] as unknown[]) : [];
    const right =
      numbers.length === terms && numbers.every((v) => typeof v === "number" && v >= 0 && v < 1e9);
    return right
      ? undefined
      : {
          en: `${path}: must have ${terms} terms that are not negative`,
          zh: `${path}：須有 ${terms} 個非負的項`,
        };
  };
  for (const [name, value] of Object.entries(kernels)) {
    const terms = (name.startsWith("attention") ? FEATURES.attention : FEATURES[name as "gemm"])?.length;
    if (terms === undefined) return bad(`kernels.${name}`, "unknown kernel", "未知的核心");
    const curves =
      name === "gemm" || name === "grouped" ? (isObject(value) ? value : { "": value }) : { "": value };
    for (const [format, curve] of Object.entries(curves)) {
      const wrong = problem(`kernels.${name}.${format}`, curve, terms);
      if (wrong) return bad("kernels", wrong.en, wrong.zh);
    }
  }
  const collectives = data["collectives"];
  if (!Array.isArray(collectives)) return bad("collectives", "must be a list", "須為清單");
  for (const [i, one] of collectives.entries()) {
    const shaped =
      isObject(one) &&
      [one["size"], one["stride"], one["world"] ?? 1].every((v) => typeof v === "number" && v >= 1);
    const wrong = shaped
      ? problem("curve", one["curve"], FEATURES.collective.length)
      : { en: "needs size and stride", zh: "須有 size 與 stride" };
    if (wrong) return bad(`collectives[${i}]`, wrong.en, wrong.zh);
  }
  if (!Array.isArray(data["points"])) return bad("points", "must be a list", "須為清單");
  return ok(data as unknown as DeviceProfile);
}

/** Whether the profile was measured on another kind of device. */
function stranger(profile: DeviceProfile, device: Device): boolean {
  if (device.id === "custom") return false;
  const cpu = profile.device.type === "cpu";
  if (cpu || device.vendor === "cpu") return cpu !== (device.vendor === "cpu");
  const name = profile.device.name.toLowerCase();
  return !name.includes(deviceWord(device.id));
}

/** What torch's name of a device holds of our id: "910c" is "Ascend910_9382" to torch, "h100-500w" an H100. */
const deviceWord = (id: string): string => /^[a-z]*\d+/.exec(id)?.[0] ?? id;

/**
 * A cluster whose devices do what the profile measured: its curves take the place of data-sheet efficiencies, its collectives that of
 * links as far as groups inside one node go.
 */
export function withProfile(cluster: Cluster, profile: DeviceProfile, file?: string): Result<Cluster> {
  const groups: NodeGroup[] = [];
  for (const group of cluster.groups) {
    const found = profiledGroup(group, profile, file);
    if (!found.ok) return found;
    groups.push(found.value);
  }
  return ok({ ...cluster, groups });
}

/** One group of it; refuses a profile of another kind of device. */
export function profiledGroup(group: NodeGroup, profile: DeviceProfile, file?: string): Result<NodeGroup> {
  const { device } = group;
  if (stranger(profile, device)) {
    const params = { device: device.title, measured: profile.device.name };
    return err(clusterFail("PROFILE_DEVICE", params, file === undefined ? {} : { file }));
  }
  const { peak: seen, kernels } = profile;
  // A data sheet's peak stays the reference of utilisation where there is one; a processor has what was seen.
  const sheet = device.vendor !== "cpu" && device.id !== "custom";
  const most = (format: MathFormat) =>
    sheet ? (device.peak[format as "bf16"] ?? seen[format]) : seen[format];
  const bf16 = most("bf16") ?? (seen.fp32 as number);
  const fp32 = most("fp32");
  const format = kernels.gemm?.bf16 ? "bf16" : "fp32";
  const top = format === "fp32" ? (fp32 ?? bf16) : bf16;
  /** Share of the peak that large shapes approach: two FLOPs to a multiply-add. */
  const reached = (perProduct: number | undefined) =>
    perProduct ? Math.min(1, 2 / perProduct / top) : undefined;
  const gemm = reached(kernels.gemm?.[format]?.terms[1]);
  const grouped = reached(kernels.grouped?.[format]?.terms[2]);
  const efficiency: Efficiency = {
    ...device.efficiency,
    ...(gemm === undefined ? {} : { gemm }),
    ...(grouped === undefined ? {} : { groupedGemm: grouped }),
    memory: 1,
    launchSeconds: profile.launchSeconds,
    origin: "measured",
  };
  return ok({
    ...group,
    device: {
      ...device,
      title: profile.device.name === "cpu" ? device.title : profile.device.name,
      peak: { ...device.peak, bf16, ...(fp32 === undefined ? {} : { fp32 }) },
      memoryBandwidth: profile.memoryBandwidth,
      hostBandwidth: profile.hostBandwidth,
      efficiency,
      measured: kernels,
    },
    ...(profile.collectives.length > 0 ? { collectives: profile.collectives } : {}),
    ...(profile.cores === null ? {} : { cores: profile.cores }),
  });
}

/** The machine a profile was measured on, as a cluster of one node. */
export function profileMachine(profile: DeviceProfile): Cluster {
  const cpu = profile.device.type === "cpu";
  const name = profile.device.name.toLowerCase();
  const like = cpu
    ? "cpu"
    : (DEVICES.find(({ id }) => id !== "cpu" && name.includes(deviceWord(id)))?.id ?? "h100");
  const group = presetGroup(like, 1) as NodeGroup;
  const memoryBytes = cpu
    ? Math.floor(profile.device.memoryBytes / profile.ranks)
    : profile.device.memoryBytes;
  const device = { ...group.device, memoryBytes, ...(cpu ? {} : { id: like }) };
  const node = {
    ...group,
    device,
    devicesPerNode: profile.ranks,
    ...(cpu ? { hostMemoryBytes: profile.device.memoryBytes } : {}),
  };
  return { name: `${profile.ranks} x ${profile.device.name}`, groups: [node], collectiveSeconds: 50e-6 };
}
