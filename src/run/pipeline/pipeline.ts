import { setImmediate } from "node:timers/promises";
import { EXIT, TesseraError } from "../../base/index.ts";
import { hashJson } from "../../base/node.ts";
import { fail } from "../errors.ts";
import type { Journal, PhaseName, Verdict } from "../journal/index.ts";
import { wanted, withBuiltin } from "./builtin.ts";
import type { Outputs, Phase, PhaseContext, Phases, Progress } from "./phases.ts";

export type PipelineOptions = {
  readonly journal: Journal;
  readonly phases: Phases;
  readonly context: Omit<PhaseContext, "outputs" | "progress">;
  readonly onProgress: (progress: Progress) => void;
  /** Called when a phase begins or is found done already. */
  readonly onPhase?: (phase: PhaseName, at: number, of: number, done: boolean) => void;
  readonly now: () => number;
};

/** Phases that ran or were found done, with what they left. Throws what a phase throws, after writing it to the journal. */
export async function runPipeline(options: PipelineOptions): Promise<Partial<Outputs>> {
  const { journal, context, now } = options;
  const phases = withBuiltin(context.recipe, options.phases);
  const names = wanted(context.recipe, phases);
  for (const name of names) if (!phases[name]) throw fail("RUN_PHASE_MISSING", { phase: name });
  const outputs: { [name in PhaseName]?: unknown } = {};
  let hash = "";
  for (const [at, name] of names.entries()) {
    const phase = phases[name] as Phase<PhaseName>;
    const full: PhaseContext = {
      ...context,
      outputs: outputs as Partial<Outputs>,
      progress: (progress) => options.onProgress({ phase: name, ...progress }),
    };
    // A phase may have computed without a pause: a Ctrl-C that came meanwhile is heard before the next one starts anything.
    await setImmediate();
    interrupted(context, name);
    // A phase's identity chains those before it: another input there is another result here.
    const input = hashJson({ name, before: hash, asks: phase.input(full) }).slice(0, 16);
    const known = journal.state.phases[name];
    const kept =
      known?.state === "done" &&
      known.input === input &&
      (phase.valid?.(known.output as Outputs[typeof name]) ?? true);
    options.onPhase?.(name, at, names.length, kept);
    if (kept) outputs[name] = known.output;
    else {
      const began = now();
      journal.write({ kind: "phase", phase: name, input });
      try {
        outputs[name] = await phase.run(full);
      } catch (cause) {
        if (cause instanceof TesseraError && cause.entry.exit === EXIT.interrupted) throw cause;
        interrupted(context, name);
        journal.write({ kind: "phaseFailed", phase: name, verdict: verdictOf(cause) });
        throw cause;
      }
      journal.write({ kind: "phaseDone", phase: name, input, output: outputs[name], seconds: now() - began });
    }
    hash = hashJson({ input, output: outputs[name] });
  }
  return outputs as Partial<Outputs>;
}

/** A failure as the journal keeps it; one that is a bug keeps its words. */
export function verdictOf(cause: unknown): Verdict {
  return cause instanceof TesseraError
    ? { code: cause.code, params: cause.params }
    : { code: "RUN_UNKNOWN", params: { why: String(cause) } };
}

function interrupted(context: Pick<PhaseContext, "signal" | "run">, phase: PhaseName): void {
  if (context.signal.aborted) throw fail("RUN_INTERRUPTED", { phase, run: context.run });
}
