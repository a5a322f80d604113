/** Checkpoints as files: what lies in them, and the Hugging Face folder that becomes of one. */
export { exportCheckpoint } from "./export.ts";
