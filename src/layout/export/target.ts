import type { Layout } from "../layout.ts";
import type { PlanRequest } from "../plan.ts";
import { PRECISIONS } from "../precision.ts";
import { exportProblem, type Target } from "./index.ts";

/** Stacks on FSDP2: they cut the weights themselves and keep fp32 shards that are gathered in bf16. */
const SHARDED: ReadonlySet<Target> = new Set(["torchtitan", "automodel", "veomni"]);

/** How the ranks of these stacks share attention; the others have the choice. */
const CONTEXT: Readonly<Partial<Record<Target, readonly Layout["contextParallel"][]>>> = {
  torchtitan: ["allGather", "ring"],
  automodel: ["ring"],
  veomni: ["ulysses"],
};

/**
 * The same question about what a stack can run: only layouts that its settings express are searched, under the engine and the sharding
 * it has. What was asked for by name stays as it was asked, and is refused where the stack has no word for it.
 *
 * @param asked names of what the caller chose itself
 */
export function requestFor(
  request: PlanRequest,
  target: Target,
  asked: { readonly precision: boolean },
): PlanRequest {
  const sharded = SHARDED.has(target);
  const { constraints, training } = request;
  return {
    ...request,
    training:
      sharded && !asked.precision ? { ...training, precision: PRECISIONS["bf16-fsdp"].precision } : training,
    constraints: {
      ...constraints,
      ...(target === "tessera" ? { engine: "tessera" as const } : {}),
      ...(sharded && !constraints.zero ? { zero: [3] as const } : {}),
      ...(constraints.contextParallel
        ? {}
        : { contextParallel: CONTEXT[target] ?? ["allGather", "ulysses"] }),
      expressible: (layout, of) => exportProblem({ layout, training: of }, target),
    },
  };
}
