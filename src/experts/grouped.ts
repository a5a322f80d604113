import { err, ok, type Result } from "../base/index.ts";
import { fail } from "./errors.ts";
import { FlatPlanner } from "./layer-planner.ts";
import { binsOf } from "./bins.ts";
import type { Shape } from "./shape.ts";

/**
 * Places one layer when the node of every expert is decided (by co-activation, say): each node's ranks are balanced for themselves,
 * copies stay on the node. Every node needs equally many experts. Returns slot -> expert. Errors: EXPERTS_SHAPE.
 */
export function placeOnNodes(
  shape: Shape,
  loads: Float64Array,
  nodeOf: Int32Array,
  goal = 1.003,
): Result<Int32Array> {
  const perNode = shape.ranks / shape.nodes;
  const size = shape.experts / shape.nodes;
  const out = new Int32Array(shape.slots);
  for (let node = 0; node < shape.nodes; node++) {
    const members = Array.from(nodeOf.keys()).filter((e) => nodeOf[e] === node);
    if (members.length !== size) {
      const why = `${members.length} experts, not ${size} / 專家數不同`;
      return err(fail("EXPERTS_SHAPE", { what: `node ${node}`, value: members.length, why }));
    }
    const bins = binsOf(shape, node * perNode, perNode, size);
    const part = new Int32Array(bins.total);
    new FlatPlanner(bins, goal).place(
      Float64Array.from(members, (e) => loads[e] as number),
      part,
    );
    const from = shape.slotStart[node * perNode] as number;
    for (let s = 0; s < part.length; s++) out[from + s] = members[part[s] as number] as number;
  }
  return ok(out);
}
