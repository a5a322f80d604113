import { existsSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { hashJson } from "../../../base/node.ts";
import { type JournalEvent, paths, readJournal, replay } from "../../../run/index.ts";
import { readSeries } from "../../../store/index.ts";
import { fail } from "../errors.ts";
import type { LineageNode, ReportInput } from "../types.ts";
import { readAsked, recipeSource } from "./asked.ts";
import { readBalance } from "./balance.ts";
import { readFunnel, readLineage, readManifests } from "./data.ts";
import { readEvaluation } from "./evaluation.ts";
import { readEvents } from "./events.ts";
import { at, numberAt, readJson, textAt } from "./json.ts";
import { readExperts, readTraining } from "./measured.ts";
import { readMemory } from "./memory.ts";

/** What the run folder cannot know. */
export type ReportContext = {
  /** Where the command to get the same run is typed. */
  readonly cwd: string;
  readonly versions: ReportInput["versions"];
  /** Least greatest/mean load of any placement, if it was worked out. */
  readonly expertBound?: number;
};

/**
 * Reads a run folder for its report. Only the journal must be there; whatever else is missing is shown as not measured, so that a run
 * that failed half-way has a report too.
 */
export function loadReportInput(runFolder: string, context: ReportContext): ReportInput {
  const folder = resolve(runFolder);
  const events = readJournal(folder);
  if (events.length === 0) throw fail("REPORT_FOLDER", { path: runFolder }, { file: folder });
  const state = replay(events);
  const source = readSeries(paths(folder).series);
  const told = readEvents(events);
  const planFile = outputOf(events, "plan", "file");
  const plan = readJson(planFile ?? paths(folder).plan);
  const asked = readAsked(folder, plan);
  const manifests = readManifests(outputOf(events, "data", "folder") ?? join(folder, "data"));
  const measured = outputOf(events, "measure", "file");
  const evaluation = readEvaluation(measured === undefined ? join(folder, "eval") : dirname(measured));
  const from = recipeSource(asked.recipe);
  return {
    run: {
      name: state.name || asked.name || basename(dirname(folder)),
      id: state.run || basename(folder),
      stage: asked.stage,
      started: told.started,
      finished: told.finished,
      outcome: told.outcome,
      command: `tessera run ${relative(context.cwd, from && existsSync(from) ? from : paths(folder).recipe)}`,
    },
    asked: { facts: asked.facts, recipe: asked.recipe },
    funnel: readFunnel(manifests),
    memory: readMemory(plan, source),
    training: readTraining(source, told.marks, told.trainSeconds),
    experts: readExperts(source, context.expertBound ?? null, readBalance(folder, state)),
    timeline: told.timeline,
    evaluation,
    lineage: [...readLineage(manifests), ...modelLineage(events, evaluation)],
    versions: [...context.versions, ...createdWith(events)],
  };
}

function outputOf(events: readonly JournalEvent[], phase: string, field: string): string | undefined {
  const done = events.findLast((event) => event.kind === "phaseDone" && event.phase === phase);
  return done?.kind === "phaseDone" ? textAt(done.output, field) : undefined;
}

function modelLineage(events: readonly JournalEvent[], evaluation: ReportInput["evaluation"]): LineageNode[] {
  const nodes: LineageNode[] = [];
  const checkpoint = outputOf(events, "train", "checkpoint");
  const manifest = checkpoint === undefined ? undefined : readJson(join(checkpoint, "manifest.json"));
  const base = evaluation?.result.base.identity;
  if (base) nodes.push({ name: { en: "base model", zh: "基礎模型" }, hash: base, from: [], detail: "" });
  const files = at(manifest, "files");
  const hash = Array.isArray(files) ? hashJson(files) : undefined;
  const step = numberAt(manifest, "step");
  if (hash && step !== undefined) {
    const from = base ? [base] : [];
    nodes.push({
      name: { en: `checkpoint of step ${step}`, zh: `第 ${step} 步檢查點` },
      hash,
      from,
      detail: textAt(manifest, "spec") ?? "",
    });
  }
  const trained = evaluation?.result.candidate.identity;
  if (trained) {
    const from = [hash ?? base].filter((one): one is string => one !== undefined);
    nodes.push({ name: { en: "trained model", zh: "訓練後模型" }, hash: trained, from, detail: "" });
  }
  return nodes;
}

function createdWith(events: readonly JournalEvent[]): { name: string; value: string }[] {
  const created = events.find((event) => event.kind === "created");
  return created?.kind === "created" ? [{ name: "tessera (run)", value: created.version }] : [];
}
