import { resolve } from "node:path";
import { Option } from "commander";
import { EXIT, formatSeconds, unwrap } from "../../base/index.ts";
import type { MathFormat } from "../../cluster/index.ts";
import {
  type Constraints,
  eachFallback,
  eachWhatIf,
  engineTraits,
  type Engine,
  exportPlan,
  type OptimizerKind,
  type Plan,
  plainMemory,
  planFrom,
  type PlanRequest,
  type PrecisionName,
  PRECISIONS,
  requestFor,
  SCHEDULES,
  searchAll,
  type Target,
  TARGETS,
  TimeModel,
  type Traits,
  whyNot,
} from "../../layout/index.ts";
import type { Model } from "../../model/index.ts";
import { type LoadedRecipe, loadRecipe } from "../../run/index.ts";
import type { Context, Verb } from "../context.ts";
import { refuseRecipe } from "../recipe-faults.ts";
import {
  missing,
  names,
  number,
  numbers,
  profiledCluster,
  ratio,
  readModel,
  readRouting,
  traitsOf,
} from "../planner/inputs.ts";
import { piecesText, rankPieces } from "../planner/pieces.ts";
import { recipeRequest } from "../planner/recipe.ts";
import { progressLine } from "../progress-line.ts";
import { servePlanner } from "../planner/serve.ts";
import { planText, rejectedText } from "../planner/report.ts";

type Options = {
  model?: string;
  cluster?: string;
  profile?: string;
  sequence: string;
  batch: string;
  engine: Engine;
  precision: PrecisionName;
  compute?: MathFormat;
  optimizer: OptimizerKind;
  mtp: boolean;
  imbalance?: string;
  loads?: string;
  schedules?: string;
  fallback: string;
  whatIf: boolean;
  whyNot?: string;
  pieces?: string;
  export?: Target;
  open: boolean;
  top: string;
  pp?: string;
  vpp?: string;
  tp?: string;
  cp?: string;
  ep?: string;
  etp?: string;
  replicate?: string;
  microBatch?: string;
  swap?: string;
  margin?: string;
  padBatch?: string;
  traits?: string;
  contextParallel?: string;
};

/** Searches the best layout of a model on a cluster and explains it. */
export const plan: Verb = {
  name: "plan",
  summary: {
    en: "find the layout that fits a cluster and is fastest, and say why",
    zh: "找出放得下且最快的並行佈局，並說明原因",
  },
  define(command, act) {
    command
      .argument("[recipe]", "recipe.yaml: plan what it asks for, on this machine unless --cluster says where")
      .option("--model <name|path>", "config.json, the folder that holds it, or a well-known model's name")
      .option("--cluster <preset:devices|file>", "for example h100:64, 910c:512, or a YAML file")
      .option("--profile <file>", "what tessera calibrate measured; without --cluster, plan for that machine")
      .option("--sequence <tokens>", "tokens of a sequence", "4096")
      .option("--batch <sequences>", "global batch in sequences", "256")
      .addOption(
        new Option("--engine <engine>", "whose rules hold")
          .choices(["tessera", "megatron"])
          .default("megatron"),
      )
      .addOption(
        new Option("--precision <name>", "weights, states and products")
          .choices(Object.keys(PRECISIONS))
          .default("bf16"),
      )
      .addOption(
        new Option("--compute <format>", "format of matrix products").choices(["bf16", "fp8", "fp4"]),
      )
      .addOption(new Option("--optimizer <name>").choices(["adamw", "muon", "sgd"]).default("adamw"))
      .option("--no-mtp", "do not train multi-token-prediction modules")
      .option("--imbalance <ratio>", "tokens of the most loaded expert rank over the mean")
      .option("--loads <file>", "recorded expert loads, as tessera balance reads them, instead of one ratio")
      .option("--traits <list>", "how the stack runs: deduplicate,overlapExpert=0.8 (keys as in a case)")
      .option("--pp <list>", "allowed degrees, like 4,8 (the same for the options below)")
      .option("--vpp <list>")
      .option("--tp <list>")
      .option("--cp <list>")
      .option("--context-parallel <list>", "allGather,ring,ulysses")
      .option("--ep <list>")
      .option("--etp <list>")
      .option("--replicate <list>")
      .option("--micro-batch <list>")
      .option("--schedules <list>", "1f1b,interleaved1f1b,zbh1,zbv,dualpipev")
      .addOption(new Option("--swap <answer>", "keep optimizer state on the host").choices(["yes", "no"]))
      .option("--margin <share>", "share of device memory kept free (default 0.04)")
      .option(
        "--pad-batch <share>",
        "share of the batch that empty sequences may add where it does not divide",
      )
      .option("--top <n>", "alternatives listed", "8")
      .addOption(
        new Option("--export <target>", "print the settings of another stack instead").choices(TARGETS),
      )
      .option("--pieces <rank>", "print what this rank holds of every tensor instead")
      .option("--open", "serve the planner page on this machine and print its address", false)
      .option("--fallback <nodes>", "plans for up to this many lost nodes", "0")
      .option("--what-if", "what one more of anything would buy", false)
      .option("--why-not <words>", "rejected layouts whose name holds these words, with what bound them")
      .action((recipe: string | undefined, options: Options) =>
        act(async (context) => {
          if (options.open) return servePlanner(context);
          const typed = (name: keyof Options) => command.getOptionValueSource(name) === "cli";
          const loaded = recipe === undefined ? undefined : loadRecipe(resolve(context.cwd, recipe));
          if (loaded && !loaded.ok) return refuseRecipe(context, loaded.error);
          const given = loaded
            ? requestOf(context.cwd, loaded.value, options, typed)
            : planRequest(context.cwd, options);
          const asked = { precision: loaded !== undefined || typed("precision") };
          const request = options.export ? requestFor(given, options.export, asked) : given;
          const result = searchAll(request);
          const found = unwrap(planFrom(request, result));
          if (options.export) return printExport(context, found, options.export);
          if (options.pieces !== undefined) {
            const pieces = rankPieces(request, found, options.pieces);
            context.out(`${found.name}\n${piecesText(pieces, context.lang)}`);
            context.data({ schema: "tessera.pieces/v1", name: found.name, ...pieces });
            return EXIT.done;
          }
          const line = progressLine(context);
          const count = options.fallback === "0" ? 0 : number("--fallback", options.fallback);
          const lost =
            count === 0
              ? []
              : gather(eachFallback(request, found, count), (at) =>
                  line.show(context.say(PROGRESS.lost, { at, of: count })),
                );
          const what = options.whatIf
            ? gather(eachWhatIf(request, found), (at) => line.show(context.say(PROGRESS.what, { at })))
            : [];
          line.clear();
          const rejected = options.whyNot === undefined ? undefined : whyNot(request, result, options.whyNot);
          if (!context.json) {
            const traits = engineTraits(request.constraints.engine, found.training, request.traits);
            const step = new TimeModel(request.model, request.cluster, found.training, traits).step(
              found.layout,
              true,
            );
            context.out(
              planText(
                {
                  plan: found,
                  cluster: request.cluster,
                  step,
                  fallbacks: lost,
                  lostAsked: count,
                  whatIfs: what,
                },
                context.lang,
              ),
            );
            if (rejected) context.out(rejectedText(rejected, context.lang));
          }
          context.data({
            ...found,
            memory: plainMemory(found.memory),
            fallbacks: lost,
            whatIfs: what,
            ...(rejected ? { whyNot: rejected.rows, whyNotTotal: rejected.total } : {}),
          });
          return EXIT.done;
        }),
      );
  },
};

function printExport(context: Context, found: Plan, target: Target) {
  const settings = unwrap(exportPlan(found, target));
  const text = {
    en: "the fastest plan that {target} can run: {name}, {seconds} a step",
    zh: "{target} 能執行的最快佈局：{name}，每步 {seconds}",
  };
  context.talk(context.say(text, { target, name: found.name, seconds: formatSeconds(found.time.seconds) }));
  context.out(settings);
  context.data({ schema: "tessera.export/v1", target, name: found.name, settings });
  return EXIT.done;
}

const PROGRESS = {
  lost: { en: "plans for lost nodes: {at} of {of}", zh: "節點丟失方案：{at}／{of}" },
  what: { en: "what a little more would buy: {at}", zh: "多一點資源的效果：{at}" },
} as const;

/** All that a generator gives, with a word after each. */
function gather<T>(each: Generator<T>, after: (at: number) => void): T[] {
  const list: T[] = [];
  for (const next of each) {
    list.push(next);
    after(list.length);
  }
  return list;
}

/** What a recipe asks, with what was typed beside it in its place. */
function requestOf(
  cwd: string,
  { recipe, folder }: LoadedRecipe,
  options: Options,
  typed: (name: keyof Options) => boolean,
): PlanRequest {
  const elsewhere = options.cluster !== undefined || options.profile !== undefined;
  const cluster = elsewhere ? profiledCluster(cwd, options.cluster, options.profile) : undefined;
  const asked = recipeRequest(recipe, folder, { cluster });
  return {
    ...asked,
    training: {
      ...asked.training,
      ...(typed("sequence") ? { sequence: number("--sequence", options.sequence) } : {}),
      ...(typed("batch") ? { globalBatch: number("--batch", options.batch) } : {}),
      ...paddingOf(options),
    },
    constraints: { ...asked.constraints, ...constraintsOf(options) },
    traits: { ...asked.traits, ...loadTraits(cwd, options, asked.model) },
    ...marginOf(options),
    alternatives: number("--top", options.top),
  };
}

/** How the stack runs, and how unevenly experts are loaded: one ratio, or what was recorded. */
const loadTraits = (cwd: string, { traits, imbalance, loads }: Options, model: Model): Partial<Traits> => ({
  ...(traits ? traitsOf(traits) : {}),
  ...(imbalance ? { imbalance: ratio("--imbalance", imbalance, 1, 1000) } : {}),
  ...(loads ? { routing: readRouting(cwd, loads, model) } : {}),
});

const CONTEXT_PARALLEL = ["allGather", "ring", "ulysses"] as const;

/** Limits to the search that were typed. */
function constraintsOf(options: Options): Partial<Constraints> {
  const list = (key: keyof Constraints, text: string | undefined) => {
    const values = numbers(`--${key}`, text);
    return values ? { [key]: values } : {};
  };
  return {
    ...list("pp", options.pp),
    ...list("vpp", options.vpp),
    ...list("tp", options.tp),
    ...list("cp", options.cp),
    ...list("ep", options.ep),
    ...list("etp", options.etp),
    ...list("dpReplicate", options.replicate),
    ...list("microBatch", options.microBatch),
    ...(options.contextParallel
      ? { contextParallel: names("--context-parallel", options.contextParallel, CONTEXT_PARALLEL) }
      : {}),
    ...(options.schedules ? { schedules: names("--schedules", options.schedules, SCHEDULES) } : {}),
    ...(options.swap === undefined ? {} : { optimizerOffload: [options.swap === "yes" ? 1 : 0] }),
  };
}

const marginOf = ({ margin }: Options) =>
  margin === undefined ? {} : { margin: ratio("--margin", margin, 0, 0.9) };

const paddingOf = ({ padBatch }: Options) =>
  padBatch === undefined ? {} : { padBatch: ratio("--pad-batch", padBatch, 0, 1) };

export function planRequest(cwd: string, options: Options): PlanRequest {
  if (options.model === undefined) throw missing("--model");
  if (options.cluster === undefined && options.profile === undefined) throw missing("--cluster");
  const model = readModel(cwd, options.model);
  return {
    model,
    cluster: profiledCluster(cwd, options.cluster, options.profile),
    training: {
      sequence: number("--sequence", options.sequence),
      microBatch: 1,
      globalBatch: number("--batch", options.batch),
      precision: PRECISIONS[options.precision].precision,
      optimizer: options.optimizer,
      mtp: options.mtp && model.mtp.length > 0,
      ...paddingOf(options),
    },
    constraints: { engine: options.engine, ...constraintsOf(options) },
    traits: {
      ...PRECISIONS[options.precision].traits,
      ...(options.compute ? { compute: options.compute, expertCompute: options.compute } : {}),
      ...loadTraits(cwd, options, model),
    },
    ...marginOf(options),
    alternatives: number("--top", options.top),
  };
}
