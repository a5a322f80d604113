import { availableParallelism, cpus } from "node:os";
import { join, resolve } from "node:path";
import { stringify } from "yaml";
import { EXIT, formatBytes, formatSeconds, unwrap } from "../../base/index.ts";
import { hashJson, writeFileAtomic } from "../../base/node.ts";
import type { DeviceProfile } from "../../cluster/index.ts";
import { parseModel } from "../../model/index.ts";
import { cutModelText, enginePoints } from "../calibrate/engine-points.ts";
import { calibrateFail } from "../calibrate/errors.ts";
import { Fleet } from "../calibrate/fleet.ts";
import { measure } from "../calibrate/measure.ts";
import { meetingPoints } from "../calibrate/meetings.ts";
import { planPoints, type Point, shortName } from "../calibrate/points.ts";
import { makeProfile } from "../calibrate/profile.ts";
import type { Context, Verb } from "../context.ts";
import { modelFile, readText } from "../planner/inputs.ts";
import { progressLine } from "../progress-line.ts";
import { table } from "../table.ts";

type Options = {
  model?: string;
  ranks?: string;
  sequence: string;
  microBatch: string;
  minutes: string;
  points?: string;
  out: string;
  work: string;
};

/** Ranks of a node without a number given: two a core where cores compute, else one a device. */
const RANKS_PER_CORE = 2;

/** Measures this machine's devices through the engine and writes the profile that the planner reads. */
export const calibrate: Verb = {
  name: "calibrate",
  summary: {
    en: "measure this machine's devices through the engine, for the planner",
    zh: "透過引擎量測本機裝置，供規劃器使用",
  },
  define(command, act) {
    command
      .option(
        "--model <path>",
        "measure this model's shapes and whole steps of it (config.json or its folder)",
      )
      .option("--ranks <n>", "ranks of a node (default: one a device; on CPU two a core)")
      .option("--sequence <tokens>", "tokens of a sequence", "256")
      .option("--micro-batch <sequences>", "sequences a rank takes at once", "4")
      .option("--minutes <n>", "stop after this long; the next call goes on", "10")
      .option("--points <n>", "measure at most so many points")
      .option("--out <file>", "where the profile goes (.json, or YAML)", "device-profile.yaml")
      .option("--work <folder>", "where finished points are kept", ".tessera/calibrate")
      .action((options: Options) => act((context) => run(context, options)));
  },
};

async function run(context: Context, options: Options): Promise<0> {
  const number = (option: string, text: string, whole = true): number => {
    const value = Number(text);
    if (value > 0 && (!whole || Number.isInteger(value))) return value;
    const what = context.say(
      whole
        ? { en: "a whole number from 1", zh: "不小於 1 的整數" }
        : { en: "a number above 0", zh: "大於 0 的數" },
    );
    throw calibrateFail("CALIBRATE_NUMBER", { option, what, text });
  };
  const shapes = {
    sequence: number("--sequence", options.sequence),
    microBatch: number("--micro-batch", options.microBatch),
  };
  const seconds = 60 * number("--minutes", options.minutes, false);
  const most = options.points === undefined ? Number.POSITIVE_INFINITY : number("--points", options.points);
  const wanted = options.ranks === undefined ? undefined : number("--ranks", options.ranks);
  const file = options.model === undefined ? undefined : modelFile(context.cwd, options.model);
  const text = file && readText(file, "model");
  const model = text && file ? unwrap(parseModel(text, { file })) : null;
  const config = text ? (JSON.parse(text) as Record<string, unknown>) : null;

  const abort = new AbortController();
  const stop = () => abort.abort();
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
  try {
    const hello = await greet(context, abort.signal);
    const { type } = hello;
    const cores = availableParallelism();
    const shared = type === "cpu" ? cores : null;
    const ranks = wanted ?? (type === "cpu" ? RANKS_PER_CORE * cores : hello.count);
    const machine = { ranks, type, cores: shared };
    const single = planPoints(machine, model, shapes);
    // The log belongs to one machine, one torch and one plan; whatever changes starts another.
    const host =
      type === "cpu" ? `${cpus()[0]?.model ?? "cpu"} x ${cores}` : `${hello.name} x ${hello.count}`;
    const identity = hashJson({ host, torch: hello.torch, ranks, config, shapes, single }).slice(0, 16);
    const work = join(resolve(context.cwd, options.work), identity);
    const folderOf = (layers: number) => writeModel(work, text ?? "", layers);
    const engine = config ? enginePoints(config, shapes, machine, folderOf) : [];
    const meetings = config ? meetingPoints(config, shapes, machine, folderOf) : [];
    const points = mixed(single, [...engine, ...meetings]).slice(0, most);
    const line = progressLine(context);
    const log = join(work, "points.jsonl");
    context.talk(
      context.say(
        {
          en: "{count} points on {host}, {ranks} ranks; kept in {log}",
          zh: "{host} 上 {count} 個量測點，{ranks} 個進程；保存在 {log}",
        },
        { count: points.length, host, ranks, log },
      ),
    );
    const measured = await measure({
      points,
      log,
      together: type === "cpu" ? Math.min(ranks, cores) : Math.min(ranks, hello.count),
      ranks,
      ownTime: type === "cpu",
      seconds,
      env: context.env,
      signal: abort.signal,
      onPoint: (done, total, last, left) =>
        line.show(
          context.say(
            { en: "{done}/{total}  {left} left  {last}", zh: "{done}/{total}  尚需 {left}  {last}" },
            { done, total, left: formatSeconds(left), last: shortName(last.key) },
          ),
        ),
    });
    line.clear();
    const profile = makeProfile({
      device: { name: hello.name, type, memoryBytes: hello.total },
      torch: hello.torch,
      made: new Date().toISOString(),
      ranks,
      cores: shared,
      points,
      engine,
      meetings,
      measured,
    });
    const out = resolve(context.cwd, options.out);
    writeFileAtomic(
      out,
      out.endsWith(".json") ? `${JSON.stringify(profile, null, 2)}\n` : stringify(profile),
    );
    const failed = [...measured.values()].filter((one) => "problem" in one);
    context.data({ ...profile, file: out, failed });
    context.out(profileTable(profile, context));
    for (const one of failed.slice(0, 3)) if ("problem" in one) context.talk(`${one.key}: ${one.problem}`);
    context.talk(
      profile.complete
        ? context.say({ en: "written: {out}", zh: "已寫入：{out}" }, { out })
        : context.say(
            {
              en: "written: {out}, from {done} of {total} points; call again to measure the rest",
              zh: "已寫入：{out}，完成 {total} 個量測點中的 {done} 個；再執行一次可量測其餘",
            },
            { out, done: profile.points.length, total: points.length },
          ),
    );
    return EXIT.done;
  } finally {
    process.removeListener("SIGINT", stop);
    process.removeListener("SIGTERM", stop);
  }
}

type Hello = { name: string; type: string; torch: string; total: number; count: number };

/** Asks the engine what it would compute on. */
async function greet(context: Context, signal: AbortSignal): Promise<Hello> {
  const fleet = await Fleet.start(1, false, context.env, signal);
  await fleet.stop();
  const { name, type, torch, total, count } = fleet.hello;
  return {
    name: String(name),
    type: String(type),
    torch: String(torch),
    total: Number(total),
    count: Number(count),
  };
}

function writeModel(work: string, text: string, layers: number): string {
  const folder = join(work, `model-${layers}`);
  writeFileAtomic(join(folder, "config.json"), cutModelText(text, layers));
  return folder;
}

/** Whole steps stand between the single points, early enough to be there when time is short. */
function mixed(single: readonly Point[], engine: readonly { readonly point: Point }[]): Point[] {
  const out = [...single];
  engine.forEach(({ point }, i) => out.splice(Math.min(out.length, 12 * (i + 1)), 0, point));
  return out;
}

function profileTable(profile: DeviceProfile, context: Context): string {
  const { kernels, collectives } = profile;
  const share = (value: number) => `${(100 * value).toFixed(1)} %`;
  const curves = [
    ...Object.entries(kernels).flatMap(([name, value]) =>
      name === "gemm" || name === "grouped"
        ? Object.entries(value as Record<string, { points: number; median: number; worst: number }>).map(
            ([format, curve]) => [`${name} ${format}`, curve] as const,
          )
        : [[name, value as { points: number; median: number; worst: number }] as const],
    ),
    ...collectives.map(({ kind, size, stride, world = profile.ranks, curve }) => {
      const among = context.say({ en: "{world} ranks", zh: "{world} 個進程" }, { world });
      return [`${kind} ${size} / ${stride}, ${among}`, curve] as const;
    }),
  ];
  const rates = [
    ...Object.entries(profile.peak).map(
      ([format, flops]) => `${format} ${((flops ?? 0) / 1e9).toFixed(1)} GFLOP/s`,
    ),
    `${formatBytes(profile.memoryBandwidth)}/s`,
    `${(profile.launchSeconds * 1e6).toFixed(1)} µs`,
  ];
  return `${profile.device.name}: ${rates.join(", ")}\n${table(
    [
      { title: context.say({ en: "curve", zh: "曲線" }) },
      { title: context.say({ en: "points", zh: "點數" }), align: "right" },
      { title: context.say({ en: "median off", zh: "中位偏差" }), align: "right" },
      { title: context.say({ en: "worst", zh: "最大" }), align: "right" },
    ],
    curves.map(([name, { points, median, worst }]) => [name, String(points), share(median), share(worst)]),
  )}`;
}
