/** The Python engine as processes: where it is, and its zygote. */
export { engineEnv, enginePython, engineZygote, hostMemoryEnv, ROOT, torchFault } from "./engine.ts";
