/** Small tools that import nothing and run in a browser too. What needs Node stands in `node.ts`. */
export {
  catalog,
  type ErrorCatalog,
  type ErrorEntry,
  errorJson,
  EXIT,
  type ExitCode,
  type Place,
  placeText,
  renderError,
  TesseraError,
} from "./errors.ts";
export { Random } from "./random.ts";
export { err, ok, type Result, unwrap } from "./result.ts";
export { type Lang, LANGS, type Params, pickLang, say, type Text } from "./text.ts";
export { formatBytes, formatCount, formatSeconds } from "./units.ts";
