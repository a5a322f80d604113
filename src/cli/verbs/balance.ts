import { resolve } from "node:path";
import { InvalidArgumentError } from "commander";
import { EXIT } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import { eplbMaps, placementJson } from "../../experts/index.ts";
import { answerOf, type BalanceOptions, orderOf, readQuestion, rowsOf } from "../balance-plan.ts";
import { makeScan } from "../balance-scan.ts";
import { show, showAhead } from "../balance-show.ts";
import type { Context, Verb } from "../context.ts";

/** Balances experts from a file of loads, without a run. */
export const balance: Verb = {
  name: "balance",
  summary: {
    en: "place experts on ranks from a file of loads, and say how far from the bound",
    zh: "由負載檔決定專家放在哪些進程，並說明離下界多遠",
  },
  define(command, act) {
    command
      .argument("[loads]", "loads: JSON, NDJSON or CSV; - for stdin; not needed with --trace or --tokens")
      .requiredOption("--ranks <n>", "ranks that share the experts", whole)
      .option("--slots <n>", "slots of all ranks together (default: as many as experts)", whole)
      .option("--nodes <n>", "nodes with equally many ranks", whole, 1)
      .option("--groups <n>", "groups of a group-limited router", whole, 1)
      .option("--speed <rank=value,...>", "relative speed of ranks that differ", perRank)
      .option("--slots-on <rank=count,...>", "slots of ranks whose memory differs", perRank)
      .option("--previous <file>", "placement to start from: move little")
      .option("--out <file>", "write the placement to a file")
      .option("--format <tessera|eplb>", "form of the placement", form, "tessera")
      .option("--goal <ratio>", "ratio to the bound that is good enough", ratio, 1.003)
      .option("--horizon <steps>", "steps within which a move must pay back", number, 1000)
      .option("--bytes-per-expert <bytes>", "bytes that move with one expert", number, 925e6)
      .option("--seconds-per-token <s>", "seconds of one routed token in one layer", number, 1e-6)
      .option("--node-gbps <GB/s>", "bandwidth of a rank inside its node", number, 400)
      .option("--network-gbps <GB/s>", "bandwidth of a rank over the network", number, 50)
      .option("--trace <file>", "loads from a pre-scan: what each token of the data chose")
      .option(
        "--scan <model>",
        "make that pre-scan first: a Hugging Face folder, run forward once, no training",
      )
      .option("--data <file>", "packed rows to scan, as training reads them")
      .option("--rows <n>", "scan only the first rows of the data", whole)
      .option("--tokens <file>", "token ids of the data, a line a sample, for hash-routed layers")
      .option("--hash-table <file>", "experts of every token id in those layers")
      .option("--window <from:to>", "only these samples of the pre-scan", window)
      .option("--co-activation", "experts that tokens choose together on one node")
      .option("--micro-batches <n>", "which samples of the window share a micro-batch", whole)
      .option("--order <file>", "write micro-batches and sample nodes to a file")
      .action((file: string | undefined, options: Record<string, never>) =>
        act(async (context) => {
          await makeScan(context, options as unknown as BalanceOptions);
          run(context, file, {
            ...(options as unknown as BalanceOptions),
            nodeGBps: options["nodeGbps"] as unknown as number,
            networkGBps: options["networkGbps"] as unknown as number,
          });
          return EXIT.done;
        }),
      );
  },
};

function run(context: Context, file: string | undefined, options: BalanceOptions): void {
  const question = readQuestion(context, file, options);
  const answer = answerOf(question, options);
  const written =
    options.format === "eplb"
      ? { schema: "tessera.eplb-maps/v1", ...eplbMaps(answer.placement) }
      : placementJson(answer.placement);
  const order = orderOf(question, answer);
  if (options.order) writeFileAtomic(resolve(context.cwd, options.order), `${JSON.stringify(order)}\n`);
  if (options.out) writeFileAtomic(resolve(context.cwd, options.out), `${JSON.stringify(written)}\n`);
  const { loads, ahead, before } = question;
  const { placement, moved, together, packed, seconds, twins } = answer;
  const rows = rowsOf(question, answer);
  context.data({
    schema: "tessera.balance/v1",
    planSeconds: seconds,
    steps: question.steps,
    ...(twins > 0 ? { twins } : {}),
    layers: rows.map(({ why, ...rest }) => ({ ...rest, ...(why ? { why } : {}) })),
    ...(moved ? { forecast: { ...moved.forecast, paybackSteps: finite(moved.forecast.paybackSteps) } } : {}),
    ...(ahead
      ? {
          foresight: {
            ...order,
            tokens: ahead.scan.traces[0]?.tokens ?? 0,
            ...(packed ? { slowestBefore: packed.before, slowestAfter: packed.after } : {}),
          },
        }
      : {}),
    placement: written,
  });
  show(context, loads, before, placement, rows, { seconds, twins, forecast: moved?.forecast }, options);
  showAhead(context, ahead, together, packed, options);
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

function whole(value: string): number {
  if (!/^\d+$/.test(value) || Number(value) < 1)
    throw new InvalidArgumentError("a whole number >= 1 / 正整數");
  return Number(value);
}

function window(value: string): readonly [number, number] {
  const found = /^(\d+):(\d+)$/.exec(value);
  if (!found) throw new InvalidArgumentError("from:to");
  return [Number(found[1]), Number(found[2])];
}

function perRank(value: string): ReadonlyMap<number, number> {
  const pairs = value.split(",").map((part) => part.split("=").map(Number));
  if (pairs.some((pair) => pair.length !== 2 || pair.some(Number.isNaN))) {
    throw new InvalidArgumentError("rank=value,rank=value");
  }
  return new Map(pairs as [number, number][]);
}

function number(value: string): number {
  const parsed = Number(value);
  if (!(parsed > 0 && Number.isFinite(parsed))) throw new InvalidArgumentError("a number > 0 / 正數");
  return parsed;
}

function ratio(value: string): number {
  const parsed = number(value);
  if (parsed < 1) throw new InvalidArgumentError(">= 1");
  return parsed;
}

function form(value: string): string {
  if (value !== "tessera" && value !== "eplb") throw new InvalidArgumentError("tessera | eplb");
  return value;
}
