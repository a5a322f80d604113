import type { Verb } from "../context.ts";
import { balance } from "./balance.ts";
import { calibrate } from "./calibrate.ts";
import { completion } from "./completion.ts";
import { data } from "./data.ts";
import { doctor } from "./doctor.ts";
import { estimate } from "./estimate.ts";
import { evaluate } from "./eval.ts";
import { exportVerb } from "./export.ts";
import { logs } from "./logs.ts";
import { plan } from "./plan.ts";
import { ps } from "./ps.ts";
import { recipeSchemaVerb } from "./recipe-schema.ts";
import { report } from "./report.ts";
import { resume } from "./resume.ts";
import { run } from "./run.ts";
import { setup } from "./setup.ts";
import { status } from "./status.ts";
import { stop } from "./stop.ts";

/** Verbs in the order of the help. */
export const verbs: readonly Verb[] = [
  setup,
  doctor,
  calibrate,
  plan,
  estimate,
  run,
  ps,
  status,
  logs,
  stop,
  resume,
  data,
  evaluate,
  exportVerb,
  balance,
  report,
  recipeSchemaVerb,
  completion,
];
