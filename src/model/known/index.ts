import { DEEPSEEK } from "./deepseek.ts";
import { GLM } from "./glm.ts";
import { OTHERS } from "./others.ts";

/**
 * Well-known models by name, as configs that `importModel` reads: for the page and the command line, where no file is at hand.
 * Dimensions as the models' own config.json files state them.
 */
export const KNOWN_MODELS: Readonly<Record<string, object>> = { ...DEEPSEEK, ...GLM, ...OTHERS };

/** Config of a well-known model, its name in any case; undefined for another name. */
export function knownConfig(name: string): object | undefined {
  const found = Object.keys(KNOWN_MODELS).find((known) => known.toLowerCase() === name.toLowerCase());
  return found === undefined ? undefined : KNOWN_MODELS[found];
}
