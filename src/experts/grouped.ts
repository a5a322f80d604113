import { err, ok, type Result } from "../base/index.ts";
import { fail } from "./errors.ts";
import { FlatPlanner } from "./layer-planner.ts";
import { binsOf } from "./bins.ts";
import type { NodeGroups } from "./node-groups.ts";
import type { Shape } from "./shape.ts";

/**
 * Places one layer when the nodes of every expert are decided (by co-activation, say): each node's ranks are balanced for themselves, with
 * what copies the node has slots for. Every node needs equally many experts. `loads`: of each expert, or [node x experts + expert] where
 * that is known. Returns slot -> expert. Errors: EXPERTS_SHAPE.
 */
export function placeOnNodes(
  shape: Shape,
  loads: Float64Array,
  { nodeOf, local }: NodeGroups,
  goal = 1.003,
): Result<Int32Array> {
  const perNode = shape.ranks / shape.nodes;
  const { experts } = shape;
  const size = (experts + local.reduce((sum, copy) => sum + copy, 0)) / shape.nodes;
  const out = new Int32Array(shape.slots);
  for (let node = 0; node < shape.nodes; node++) {
    const members = Array.from(nodeOf.keys()).filter(
      (e) => nodeOf[e] === node || local[node * experts + e] === 1,
    );
    const from = loads.length > experts ? node * experts : 0;
    if (members.length !== size) {
      const why = `${members.length} experts, not ${size} / 專家數不同`;
      return err(fail("EXPERTS_SHAPE", { what: `node ${node}`, value: members.length, why }));
    }
    const bins = binsOf(shape, node * perNode, perNode, size);
    const part = new Int32Array(bins.total);
    new FlatPlanner(bins, goal).place(
      Float64Array.from(members, (e) => loads[from + e] as number),
      part,
    );
    const first = shape.slotStart[node * perNode] as number;
    for (let s = 0; s < part.length; s++) out[first + s] = members[part[s] as number] as number;
  }
  return ok(out);
}
