import { type Document, LineCounter, parseDocument } from "yaml";
import { type Place, TesseraError } from "../../base/index.ts";

/** A parsed YAML or JSON text (JSON is YAML) that knows where its values stand. */
export type Located = { readonly document: Document; readonly lines: LineCounter };

export function parseLocated(text: string): Located {
  const lines = new LineCounter();
  return { document: parseDocument(text, { lineCounter: lines }), lines };
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
