import { type Document, LineCounter, parseDocument } from "yaml";
import { type Place, TesseraError } from "../../base/index.ts";

/** A parsed YAML or JSON text (JSON is YAML): its plain data, where its values stand, and what is wrong with it. */
export type Located = {
  readonly document: Document;
  readonly lines: LineCounter;
  readonly data: unknown;
  readonly wrong?: { readonly detail: string; readonly line: number; readonly column: number };
};

export function parseLocated(text: string): Located {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [error] = document.errors;
  if (error) {
    const { line, col } = lines.linePos(error.pos[0]);
    const detail = error.message.split("\n")[0] as string;
    return { document, lines, data: undefined, wrong: { detail, line, column: col } };
  }
  try {
    return { document, lines, data: document.toJS({ maxAliasCount: 100 }) };
  } catch (cause) {
    // An alias without its anchor, or so many aliases that the text is an attack on the memory.
    const detail = (cause as Error).message;
    return { document, lines, data: undefined, wrong: { detail, line: 1, column: 1 } };
  }
}

/** Line and column of the value at a path like `groups[0].links[1].span`, or of its nearest ancestor that is written. */
export function placeOf({ document, lines }: Located, path: string, file: string): Place {
  const parts = path.match(/[^.[\]]+/g) ?? [];
  for (let depth = parts.length; depth >= 0; depth--) {
    const keys = parts.slice(0, depth).map((part) => (/^\d+$/.test(part) ? Number(part) : part));
    const node = document.getIn(keys, true) as { range?: [number, number, number] } | undefined;
    if (!node?.range) continue;
    const at = lines.linePos(node.range[0]);
    return { file, line: at.line, column: at.col };
  }
  return { file };
}

/** The same error with the place that its `key` names, or its `path` where it has no key. */
export function located(error: TesseraError, source: Located, file: string, prefix = ""): TesseraError {
  const path = `${prefix}${String(error.params["key"] ?? error.params["path"] ?? "")}`;
  return new TesseraError(error.code, error.entry, error.params, placeOf(source, path, file), error);
}
