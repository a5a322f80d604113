/** The Python engine as processes: where it is, and its zygote. */
export { engineEnv, enginePython, engineZygote, ROOT, torchFault } from "./engine.ts";
