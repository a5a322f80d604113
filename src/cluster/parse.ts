import { err, ok, type Params, type Place, type Result, TesseraError } from "../base/index.ts";
import { clusterFail } from "./errors.ts";
import { DEVICES, findDevice, WIRINGS } from "./presets.ts";
import { profiledGroup } from "./profile-read.ts";
import type { DeviceProfile } from "./profile.ts";
import type { Cluster, Device, Efficiency, Link, NodeGroup } from "./types.ts";

/**
 * Reads a cluster from plain data (parsed YAML or JSON). Strict: unknown keys, wrong types, impossible magnitudes are refused with
 * the path of the value, because a unit slip (GB for Gb) would quietly spoil every plan. Unit and key name go together.
 *
 * @param file name for error places
 * @param profiles reads the device profile that a group names
 */
export function parseCluster(
  data: unknown,
  file?: string,
  profiles?: (path: string) => DeviceProfile,
): Result<Cluster> {
  const reader = new Reader(file === undefined ? {} : { file });
  try {
    return ok(readCluster(reader, data, profiles));
  } catch (cause) {
    if (cause instanceof TesseraError) return err(cause);
    throw cause;
  }
}

const GiB = 1024 ** 3;
/** Ten times the largest cluster there is; the search stays within seconds. */
export const MOST_DEVICES = 2 ** 20;

type Profiles = ((path: string) => DeviceProfile) | undefined;

function readCluster(r: Reader, data: unknown, profiles: Profiles): Cluster {
  const top = r.object(data, "", ["name", "collectiveMicroseconds", "groups", "between"]);
  const groups = r
    .list(top["groups"], "groups")
    .map((group, i) => readGroup(r, group, `groups[${i}]`, profiles));
  if (groups.length === 0) throw r.empty("groups", 0);
  const between = top["between"];
  if (groups.length > 1 && between === undefined) {
    throw r.shape(
      "between",
      "a cluster with several groups must say how they are connected",
      "多組的叢集須說明各組如何相連",
    );
  }
  const devices = groups.reduce((sum, group) => sum + group.nodes * group.devicesPerNode, 0);
  if (devices > MOST_DEVICES) {
    throw r.fail("CLUSTER_RANGE", {
      path: "groups",
      value: devices,
      low: 1,
      high: MOST_DEVICES,
      unit: "devices",
    });
  }
  const first = (top["groups"] as unknown[])[0] as Record<string, unknown>;
  const preset = typeof first["device"] === "string" ? WIRINGS[first["device"]] : undefined;
  return {
    name: r.text(top["name"] ?? "cluster", "name"),
    groups,
    collectiveSeconds:
      r.number(
        top["collectiveMicroseconds"] ?? (preset?.collectiveSeconds ?? 20e-6) * 1e6,
        "collectiveMicroseconds",
        {
          low: 0,
          high: 1e5,
          unit: "µs",
        },
      ) * 1e-6,
    ...(groups.length > 1
      ? { between: readLink(r, { span: Number.POSITIVE_INFINITY, ...(between as object) }, "between") }
      : {}),
  };
}

function readGroup(r: Reader, data: unknown, path: string, profiles: Profiles): NodeGroup {
  const group = r.object(data, path, [
    "device",
    "nodes",
    "devicesPerNode",
    "hostMemoryGiB",
    "links",
    "profile",
  ]);
  const device = readDevice(r, group["device"], `${path}.device`);
  const wiring = WIRINGS[device.id];
  const need = (key: string, fallback: unknown) => {
    const value = group[key] ?? fallback;
    if (value === undefined)
      throw r.shape(
        `${path}.${key}`,
        "is missing, and the device is no preset to take it from",
        "缺少，且該裝置不是可取用數值的預設",
      );
    return value;
  };
  const links =
    group["links"] === undefined && wiring
      ? wiring.links
      : r
          .list(need("links", undefined), `${path}.links`)
          .map((link, i) => readLink(r, link, `${path}.links[${i}]`));
  if (links.length === 0) throw r.empty(`${path}.links`, 0);
  for (let i = 1; i < links.length; i++) {
    const [before, link] = [links[i - 1] as Link, links[i] as Link];
    if (link.span <= before.span) {
      throw r.fail("CLUSTER_LEVELS", {
        path: `${path}.links[${i}]`,
        name: link.name,
        span: link.span,
        before: before.span,
      });
    }
  }
  const last = links.length - 1;
  const plain: NodeGroup = {
    device,
    nodes: r.count(group["nodes"], `${path}.nodes`, 1e6),
    devicesPerNode: r.count(need("devicesPerNode", wiring?.perNode), `${path}.devicesPerNode`, 1024),
    hostMemoryBytes:
      r.number(need("hostMemoryGiB", wiring?.hostGiB), `${path}.hostMemoryGiB`, {
        low: 0.5,
        high: 65536,
        unit: "GiB",
      }) * GiB,
    // Nothing lies beyond the last level, so it reaches every device whatever was written.
    links: links.map((link, i) => (i === last ? { ...link, span: Number.POSITIVE_INFINITY } : link)),
  };
  if (group["profile"] === undefined) return plain;
  const name = r.text(group["profile"], `${path}.profile`);
  if (!profiles)
    throw r.shape(`${path}.profile`, "cannot be read here; give --profile", "此處無法讀取；請用 --profile");
  const found = profiledGroup(plain, profiles(name));
  if (found.ok) return found.value;
  throw found.error;
}

const DEVICE_KEYS = [
  "preset",
  "id",
  "title",
  "memoryGiB",
  "contextGiB",
  "bf16Tflops",
  "fp32Tflops",
  "fp8Tflops",
  "fp4Tflops",
  "memoryBandwidthGBs",
  "hostBandwidthGBs",
  "efficiency",
] as const;
const FRACTIONS = [
  "gemm",
  "groupedGemm",
  "attentionForward",
  "attentionBackward",
  "sparseAttention",
  "memory",
  "lowPrecision",
] as const;

function readDevice(r: Reader, data: unknown, path: string): Device {
  if (typeof data === "string") return preset(r, data, path);
  const given = r.object(data, path, DEVICE_KEYS);
  const base =
    given["preset"] === undefined
      ? undefined
      : preset(r, r.text(given["preset"], `${path}.preset`), `${path}.preset`);
  const read = (
    key: string,
    fallback: number | undefined,
    low: number,
    high: number,
    unit: string,
    scale: number,
  ) => {
    const value = given[key];
    if (value === undefined) {
      if (fallback === undefined) throw r.shape(`${path}.${key}`, "is missing", "缺少");
      return fallback;
    }
    return r.number(value, `${path}.${key}`, { low, high, unit }) * scale;
  };
  const optional = (key: string, fallback: number | undefined) =>
    given[key] === undefined ? fallback : read(key, undefined, 0.001, 200_000, "TFLOP/s", 1e12);
  const fp32 = optional("fp32Tflops", base?.peak.fp32);
  const fp8 = optional("fp8Tflops", base?.peak.fp8);
  const fp4 = optional("fp4Tflops", base?.peak.fp4);
  const device: Device = {
    id: r.text(given["id"] ?? base?.id ?? "custom", `${path}.id`),
    title: r.text(given["title"] ?? base?.title ?? "custom device", `${path}.title`),
    vendor: base?.vendor ?? "other",
    memoryBytes: read("memoryGiB", base?.memoryBytes, 0.25, 4096, "GiB", GiB),
    contextBytes: read("contextGiB", base?.contextBytes ?? 1 * GiB, 0, 64, "GiB", GiB),
    peak: {
      bf16: read("bf16Tflops", base?.peak.bf16, 0.001, 100_000, "TFLOP/s", 1e12),
      ...(fp32 === undefined ? {} : { fp32 }),
      ...(fp8 === undefined ? {} : { fp8 }),
      ...(fp4 === undefined ? {} : { fp4 }),
    },
    memoryBandwidth: read("memoryBandwidthGBs", base?.memoryBandwidth, 1, 100_000, "GB/s", 1e9),
    hostBandwidth: read("hostBandwidthGBs", base?.hostBandwidth ?? 16e9, 0.1, 2000, "GB/s", 1e9),
    efficiency: readEfficiency(r, given["efficiency"], `${path}.efficiency`, base),
  };
  // Products a byte of memory traffic: some hundreds on every device there is.
  if (device.peak.bf16 / device.memoryBandwidth > 10_000) {
    const [gigabytes, tera] = [device.memoryBandwidth / 1e9, device.peak.bf16 / 1e12];
    throw r.shape(
      `${path}.memoryBandwidthGBs`,
      `${gigabytes} GB/s cannot feed ${tera} TFLOP/s: one of them is in another unit`,
      `${gigabytes} GB/s 無法供給 ${tera} TFLOP/s：其中之一的單位有誤`,
    );
  }
  return device;
}

function readEfficiency(r: Reader, data: unknown, path: string, base: Device | undefined): Efficiency {
  const start = (base ?? (findDevice("h100") as Device)).efficiency;
  if (data === undefined) return base ? start : { ...start, origin: "assumed" };
  const given = r.object(data, path, [
    ...FRACTIONS,
    "unfused",
    "launchMicroseconds",
    "halfDimension",
    "matrixCores",
    "origin",
  ]);
  const fractions = Object.fromEntries(
    FRACTIONS.flatMap((key) =>
      given[key] === undefined
        ? []
        : [[key, r.number(given[key], `${path}.${key}`, { low: 0.001, high: 1, unit: "of peak" })]],
    ),
  );
  const origin = given["origin"];
  if (origin !== undefined && origin !== "measured" && origin !== "fitted" && origin !== "assumed") {
    throw r.shape(
      `${path}.origin`,
      "must be measured, fitted or assumed",
      "須為 measured、fitted 或 assumed",
    );
  }
  return {
    ...start,
    ...fractions,
    ...(given["launchMicroseconds"] === undefined
      ? {}
      : {
          launchSeconds:
            r.number(given["launchMicroseconds"], `${path}.launchMicroseconds`, {
              low: 0,
              high: 1e4,
              unit: "µs",
            }) * 1e-6,
        }),
    ...(given["halfDimension"] === undefined
      ? {}
      : {
          halfDimension: r.number(given["halfDimension"], `${path}.halfDimension`, {
            low: 0,
            high: 8192,
            unit: "",
          }),
        }),
    ...(given["matrixCores"] === undefined
      ? {}
      : {
          matrixCores: r.number(given["matrixCores"], `${path}.matrixCores`, {
            low: 0,
            high: 4096,
            unit: "",
          }),
        }),
    ...(given["unfused"] === undefined
      ? {}
      : { unfused: r.number(given["unfused"], `${path}.unfused`, { low: 1, high: 20, unit: "x" }) }),
    ...(origin === undefined ? {} : { origin }),
  };
}

function readLink(r: Reader, data: unknown, path: string): Link {
  const link = r.object(data, path, [
    "name",
    "span",
    "bandwidthGBs",
    "efficiency",
    "latencyMicroseconds",
    "ring",
  ]);
  const ring = link["ring"] ?? false;
  if (typeof ring !== "boolean")
    throw r.shape(`${path}.ring`, "must be true or false", "必須是 true 或 false");
  const span = link["span"] === "all" ? Number.POSITIVE_INFINITY : link["span"];
  return {
    name: r.text(link["name"] ?? "link", `${path}.name`),
    span: span === Number.POSITIVE_INFINITY ? span : r.count(span, `${path}.span`, 1e7),
    bandwidth:
      r.number(link["bandwidthGBs"], `${path}.bandwidthGBs`, { low: 0.01, high: 20_000, unit: "GB/s" }) * 1e9,
    efficiency: r.number(link["efficiency"] ?? 0.75, `${path}.efficiency`, {
      low: 0.01,
      high: 1,
      unit: "of peak",
    }),
    latency:
      r.number(link["latencyMicroseconds"] ?? 5, `${path}.latencyMicroseconds`, {
        low: 0,
        high: 1e6,
        unit: "µs",
      }) * 1e-6,
    ...(ring ? { ring } : {}),
  };
}

function preset(r: Reader, name: string, path: string): Device {
  const found = findDevice(name);
  if (found) return found;
  throw r.fail("CLUSTER_PRESET", { path, name, known: DEVICES.map((device) => device.id).join(", ") });
}

/** Typed access to plain data; every failure names the path of the value. */
class Reader {
  readonly #place: Place;
  constructor(place: Place) {
    this.#place = place;
  }
  fail(code: Parameters<typeof clusterFail>[0], params: Params): TesseraError {
    return clusterFail(code, params, this.#place);
  }
  shape(path: string, en: string, zh: string): TesseraError {
    return this.fail("CLUSTER_SHAPE", { path: path || "cluster", problem: { en, zh } });
  }
  missing(path: string, data: unknown, en: string, zh: string): TesseraError {
    return data === undefined
      ? this.shape(path, `is missing; ${en}`, `缺少；${zh}`)
      : this.shape(path, en, zh);
  }
  empty(path: string, value: number): TesseraError {
    return this.fail("CLUSTER_EMPTY", { path, value });
  }
  object(data: unknown, path: string, keys: readonly string[]): Record<string, unknown> {
    if (data === null || typeof data !== "object" || Array.isArray(data))
      throw this.shape(path, "must be a mapping", "須為鍵值結構");
    for (const key of Object.keys(data)) {
      if (keys.includes(key)) continue;
      const near = keys.find((known) => known.toLowerCase().startsWith(key.toLowerCase().slice(0, 5)));
      throw this.shape(
        path ? `${path}.${key}` : key,
        `unknown key${near ? `; did you mean '${near}'?` : `; known: ${keys.join(", ")}`}`,
        `未知的鍵${near ? `；是否為「${near}」？` : `；可用：${keys.join("、")}`}`,
      );
    }
    return data as Record<string, unknown>;
  }
  list(data: unknown, path: string): unknown[] {
    if (!Array.isArray(data)) throw this.shape(path, "must be a list", "須為清單");
    return data;
  }
  text(data: unknown, path: string): string {
    if (typeof data !== "string" || data === "") throw this.shape(path, "must be a text", "須為文字");
    return data;
  }
  number(data: unknown, path: string, range: { low: number; high: number; unit: string }): number {
    if (typeof data !== "number") {
      throw typeof data === "string"
        ? this.shape(
            path,
            "must be a number; the unit is part of the key, so write the number alone",
            "須為數；單位已在鍵名中，只寫數即可",
          )
        : this.missing(path, data, "must be a number", "須為數");
    }
    if (!(data >= range.low && data <= range.high)) {
      throw this.fail("CLUSTER_RANGE", { path, value: data, ...range });
    }
    return data;
  }
  count(data: unknown, path: string, high: number): number {
    if (typeof data !== "number" || !Number.isInteger(data)) {
      throw this.missing(path, data, "must be a whole number", "須為整數");
    }
    if (data < 1) throw this.empty(path, data);
    if (data > high)
      throw this.fail("CLUSTER_RANGE", {
        path,
        value: data,
        low: 1,
        high,
        unit: path.split(".").at(-1) as string,
      });
    return data;
  }
}
