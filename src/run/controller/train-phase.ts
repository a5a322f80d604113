import { existsSync } from "node:fs";
import { unwrap } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import type { ZygoteCommand } from "../agent/zygote.ts";
import { fail, type RunErrorCode } from "../errors.ts";
import type { Journal } from "../journal/index.ts";
import type { Launcher } from "../launcher/index.ts";
import { paths } from "../paths.ts";
import type { Phase, PhaseContext } from "../pipeline/index.ts";
import type { Params, Result } from "../../base/index.ts";
import type { Watch } from "../watching.ts";
import { number, type StepMessage, type WorkerMessage } from "../wire/index.ts";
import type { Foreseen } from "../balancing/index.ts";
import { foreseePlaces, openBalancing, rowsInOrder } from "./balance.ts";
import { listCheckpoints } from "./checkpoints.ts";
import type { Hub } from "./hub.ts";
import { Series } from "./series.ts";
import { type WorkerLayout, workerSpec, worldOfLayout } from "./spec.ts";
import { Training } from "./train.ts";

export type TrainPhaseOptions = {
  readonly journal: Journal;
  readonly hub: Hub;
  readonly launcher: (world: number) => Launcher;
  readonly watch: Watch;
  readonly zygote: () => Result<ZygoteCommand>;
  /** Told about the training as soon as there is one, so that a Ctrl-C reaches it. */
  readonly onTraining: (training: Training | null) => void;
  readonly onMessage?: (message: WorkerMessage) => void;
};

const STOP_SECONDS = 120;
const KILL_SECONDS = 10;
const JOIN_SECONDS = 300;

/** The training phase: writes the worker's file, runs the supervisor to its end, and says which checkpoint came out. */
export function trainPhase(options: TrainPhaseOptions): Phase<"train"> {
  const specOf = (
    context: PhaseContext,
    placement: Foreseen["placement"] | null = null,
    order: readonly number[] | null = null,
  ) => {
    const { plan, screen } = context.outputs;
    if (!plan || !screen) throw fail("RUN_NO_TRAINING_DATA");
    const { stages, pp, vpp } = plan.layout;
    // A stage without a layer would train nothing; whoever planned it, ranks must not start on it.
    if (stages.length !== pp * vpp || stages.some((layers) => layers.length === 0)) {
      const why = `${stages.filter((layers) => layers.length > 0).length} stages with layers, pp x vpp = ${pp * vpp}`;
      throw fail("RUN_MODEL", { folder: context.recipe.model.base, why });
    }
    const memory = plan["memory"];
    return workerSpec({ ...context, layout: plan.layout, train: screen.train, order, placement, memory });
  };
  return {
    input: (context) => {
      const { data: _data, checkpoint: _checkpoint, memory: _memory, ...spec } = specOf(context);
      return spec;
    },
    valid: ({ checkpoint }) => existsSync(checkpoint),
    run: async (context) => {
      const { folder, recipe } = context;
      const where = paths(folder);
      const { plan, screen } = context.outputs;
      const order = plan && screen ? rowsInOrder(context, plan.layout, screen.train) : null;
      const foreseen = plan && screen && (await foreseePlaces(context, plan.layout, screen.train, order));
      if (foreseen && options.journal.state.balance.placed === null) {
        options.journal.write({ kind: "placed", line: foreseen.line, layers: foreseen.layers });
      }
      const spec = specOf(context, foreseen?.placement, order);
      writeFileAtomic(where.worker, JSON.stringify(spec, null, 2));
      const world = worldOfLayout(spec["layout"] as WorkerLayout);
      const launcher = options.launcher(world);
      const series = new Series(where.series, world);
      const meter = new Meter(Number(spec["steps"]));
      const training = new Training({
        folder,
        run: context.run,
        goal: {
          nodes: shareRanks(launcher.nodes),
          steps: Number(spec["steps"]),
          stopSeconds: STOP_SECONDS,
          killSeconds: KILL_SECONDS,
          joinSeconds: JOIN_SECONDS,
        },
        spec: where.worker,
        zygote: unwrap(options.zygote()),
        journal: options.journal,
        launcher,
        hub: options.hub,
        series,
        watch: options.watch,
        balancing: openBalancing(context, spec, launcher, options.journal, series),
        silenceSeconds: recipe.watch.agentLost.silenceSeconds,
        onStep: (step) => context.progress(meter.step(step)),
        ...(options.onMessage ? { onMessage: options.onMessage } : {}),
      });
      options.onTraining(training);
      try {
        const end = await training.ended;
        if (end.outcome === "stopped")
          throw fail("RUN_STOPPED", { step: end.step, run: context.run }, { step: end.step });
        const last = listCheckpoints(where.checkpoints).at(-1);
        if (end.outcome !== "done" || !last) {
          const code = (end.verdict?.code ?? "RUN_UNKNOWN") as RunErrorCode;
          throw fail(
            code,
            { run: context.run, why: "no checkpoint", ...end.verdict?.params },
            placeOf(end.verdict?.params),
          );
        }
        return { checkpoint: last.path, step: last.step, worker: where.worker };
      } finally {
        options.onTraining(null);
        series.close();
      }
    },
  };
}

function placeOf(params: Params | undefined): {
  rank?: number;
  step?: number;
} {
  const { rank, step } = params ?? {};
  return { ...(typeof rank === "number" ? { rank } : {}), ...(typeof step === "number" ? { step } : {}) };
}

/** Ranks in order over the nodes. */
function shareRanks(nodes: Launcher["nodes"]): { agent: string; ranks: number[] }[] {
  let next = 0;
  return nodes.map(({ agent, ranks }) => ({ agent, ranks: Array.from({ length: ranks }, () => next++) }));
}

/** Steps of rank 0 as progress: the rate is a mean that forgets, so that the remaining time follows what is now. */
class Meter {
  readonly #steps: number;
  #secondsPerStep = 0;

  constructor(steps: number) {
    this.#steps = steps;
  }

  step(message: StepMessage): Parameters<PhaseContext["progress"]>[0] {
    const took = number(message.seconds);
    this.#secondsPerStep = this.#secondsPerStep === 0 ? took : 0.9 * this.#secondsPerStep + 0.1 * took;
    return {
      done: message.step,
      total: this.#steps,
      unit: "step",
      rate: took > 0 ? message.tokens / took : 0,
      rateUnit: "tokens",
      loss: number(message.loss),
      remainingSeconds: (this.#steps - message.step) * this.#secondsPerStep,
    };
  }
}
