/** The Python engine as processes: where it is, its zygote, its one-shot tools. */
export { engineEnv, enginePython, engineZygote, ROOT } from "./engine.ts";
export { engineTool } from "./tool.ts";
