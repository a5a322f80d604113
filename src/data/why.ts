import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../base/node.ts";
import { fail } from "./errors.ts";
import { readLines } from "./jsonl.ts";
import { type Manifest, verifyStep } from "./steps.ts";

/**
 * Which step folders make up a data folder (`data.json`), and the fate of one sample along them: what every step did with it, with which code,
 * parameters and input.
 */
export type DataIndex = {
  readonly schema: "tessera.data/v1";
  /** Folder names in the order of the way. */
  readonly steps: readonly string[];
};

export type StepFate = {
  readonly step: string;
  readonly id: string;
  readonly code: string;
  readonly parameters: unknown;
  readonly inputs: Manifest["inputs"];
} & (
  | { readonly outcome: "kept"; readonly file: string; readonly row?: number }
  | { readonly outcome: "dropped"; readonly reason: string; readonly of?: string; readonly detail?: string }
  | { readonly outcome: "not-concerned" }
);

export type Fate = {
  readonly id: string;
  readonly record: Readonly<Record<string, unknown>>;
  readonly steps: readonly StepFate[];
};

export function writeIndex(folder: string, steps: readonly string[]): void {
  const index: DataIndex = { schema: "tessera.data/v1", steps };
  writeFileAtomic(join(folder, "data.json"), `${JSON.stringify(index, null, 1)}\n`);
}

/** The manifests of a data folder in order, files verified. */
export function readIndex(folder: string): Manifest[] {
  const path = join(folder, "data.json");
  if (!existsSync(path)) throw fail("DATA_FOLDER", { folder }, { file: path });
  const index = JSON.parse(readFileSync(path, "utf8")) as DataIndex;
  return index.steps.map((name) => verifyStep(join(folder, name)));
}

type Row = {
  readonly id?: string;
  readonly origin?: string;
  readonly reason?: string;
  readonly of?: string;
  readonly detail?: string;
  readonly ids?: readonly string[];
  readonly row?: number;
};

/**
 * @param wanted a sample's id (or its beginning, if only one has it), or the origin `seed/index` of a draft, which rejected drafts have too
 * @throws DATA_SAMPLE when nothing here has that name
 */
export function why(folder: string, wanted: string): Fate {
  const manifests = readIndex(folder);
  let record: Readonly<Record<string, unknown>> | undefined;
  let id: string | undefined;
  let origin: string | undefined;
  const steps: StepFate[] = [];
  for (const { step, id: stepId, code, parameters, inputs, files } of manifests) {
    const at = { step, id: stepId, code, parameters, inputs };
    let fate: StepFate = { ...at, outcome: "not-concerned" };
    for (const { name } of files.filter((file) => file.name.endsWith(".jsonl"))) {
      for (const row of readLines<Row>(join(folder, `${step}-${stepId}`, name))) {
        const named =
          row.ids !== undefined
            ? id !== undefined && row.ids.includes(id)
            : row.id !== undefined
              ? id === undefined
                ? row.id.startsWith(wanted) || row.origin === wanted
                : row.id === id
              : row.origin === (origin ?? wanted);
        if (!named) continue;
        if (row.id !== undefined && id === undefined) id = row.id;
        if (row.origin !== undefined) origin = row.origin;
        if (row.reason !== undefined) {
          // An exact duplicate has the id of the sample that stayed; that one's fate is the one asked for.
          if (fate.outcome === "kept") continue;
          fate = {
            ...at,
            outcome: "dropped",
            reason: row.reason,
            ...(row.of === undefined ? {} : { of: row.of }),
            ...(row.detail === undefined ? {} : { detail: row.detail }),
          };
          record ??= row;
        } else if (row.ids !== undefined) {
          fate = { ...at, outcome: "kept", file: name, ...(row.row === undefined ? {} : { row: row.row }) };
        } else {
          fate = { ...at, outcome: "kept", file: name };
          if (row.id !== undefined) record = row;
          else record ??= row;
        }
      }
    }
    steps.push(fate);
  }
  if (!record) throw fail("DATA_SAMPLE", { id: wanted, folder });
  return { id: id ?? wanted, record, steps: withDraft(folder, manifests, steps, origin) };
}

/** The first step names drafts by origin, which is known only after a later step named the sample: look again with it. */
function withDraft(
  folder: string,
  manifests: readonly Manifest[],
  steps: readonly StepFate[],
  origin: string | undefined,
): StepFate[] {
  return steps.map((fate, i) => {
    const manifest = manifests[i];
    if (!manifest || fate.outcome !== "not-concerned" || i !== 0 || origin === undefined) return fate;
    const found = manifest.files.find(
      ({ name }) =>
        name.endsWith(".jsonl") &&
        readLines<Row>(join(folder, `${manifest.step}-${manifest.id}`, name)).some(
          (row) => row.origin === origin,
        ),
    );
    const { step, id, code, parameters, inputs } = fate;
    return found ? { step, id, code, parameters, inputs, outcome: "kept", file: found.name } : fate;
  });
}
