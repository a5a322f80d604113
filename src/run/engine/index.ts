/** The Python engine as processes: where it is, and its zygote. */
export { engineEnv, enginePython, engineZygote, ROOT } from "./engine.ts";
