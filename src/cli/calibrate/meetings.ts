import { unwrap } from "../../base/index.ts";
import { type DeviceProfile, profileMachine, withProfile } from "../../cluster/index.ts";
import { engineTraits, evenStages, type Layout, SINGLE, TimeModel } from "../../layout/index.ts";
import { importModel, type Model, moeOf } from "../../model/index.ts";
import { type Config, cutModel, engineTraining, type EnginePoint, engineSpec } from "./engine-points.ts";
import { type Machine, type Shapes, smallerWorld } from "./points.ts";

/** Passes of a shallow model whose experts and weights lie on all of `ranks`: what they take beyond kernels and exchange is waiting. */
export type MeetingPoint = Pick<EnginePoint, "point" | "config" | "layers" | "training"> & {
  readonly ranks: number;
};

export function meetingPoints(
  config: Config,
  shapes: Shapes,
  machine: Machine,
  folderOf: (layers: number) => string,
): MeetingPoint[] {
  const layers = Math.max(1, Math.floor(Number(config["num_hidden_layers"]) / 2));
  const shallow = cutModel(config, layers);
  const short = { sequence: Math.max(32, shapes.sequence / 2), microBatch: shapes.microBatch };
  const worlds = [machine.ranks, ...smallerWorld(machine)];
  return [shapes, short].flatMap((one) =>
    worlds
      .filter((ranks) => ranks > 1)
      .map((ranks) => {
        const training = engineTraining(config, one, ranks, machine.type);
        const { dpShard, ep, stages } = layoutOf(unwrap(importModel(shallow)), ranks);
        const spec = engineSpec({ dpShard, ep, stages, recompute: "none" }, training, machine.type);
        const asked = {
          op: "engine",
          size: ranks,
          stride: 1,
          world: ranks,
          config: folderOf(layers),
          spec,
          part: "passes",
        };
        return { point: asked, config: shallow, layers, training, ranks };
      }),
  );
}

/** All ranks share the weights, and the experts as far as these go round. */
function layoutOf(model: Model, ranks: number): Layout {
  const experts = model.layers
    .map(({ body }) => moeOf(body)?.experts ?? 0)
    .reduce((a, b) => Math.max(a, b), 0);
  let ep = experts > 0 ? ranks : 1;
  while (experts % ep !== 0 || ranks % ep !== 0) ep--;
  const stages = evenStages(model.layers.length, 1);
  return { ...SINGLE, dpShard: ranks, ep, zero: 3, reshardAfterForward: true, stages };
}

/** A meeting point and the seconds that its passes took. */
type Met = { readonly one: MeetingPoint; readonly seconds: number };

/** The profile with what ranks wait for one another in its collectives, world by world. */
export const withWaiting = (profile: DeviceProfile, measured: readonly Met[]): DeviceProfile =>
  [...new Set(measured.map(({ one }) => one.ranks))].reduce((known, ranks) => {
    const world = ranks === profile.ranks ? undefined : ranks;
    const here = measured.filter(({ one }) => one.ranks === ranks);
    return later(known, waitingSeconds(here, known, world), world);
  }, profile);

const PROBE = 1e-3;

/**
 * Seconds that ranks wait for one another at a collective, beyond what the same collective takes when they come to it together. The time
 * of a step grows by a fixed amount with every second that its meetings take longer, so two predictions say how many there are.
 */
function waitingSeconds(measured: readonly Met[], profile: DeviceProfile, world: number | undefined): number {
  const waits = measured.map(({ one, seconds }) => {
    const none = passes(one, profile);
    const meetings = (passes(one, later(profile, PROBE, world)) - none) / PROBE;
    return meetings > 0 ? Math.max(0, seconds - none) / meetings : 0;
  });
  return waits.reduce((a, b) => a + b, 0) / waits.length;
}

/** Collectives of a world, each `seconds` longer. Messages between stages are left: the schedule's simulation has their waiting. */
function later(profile: DeviceProfile, seconds: number, world: number | undefined): DeviceProfile {
  const collectives = profile.collectives.map((one) => {
    if (one.kind === "message" || one.world !== world) return one;
    const [start = 0, ...rest] = one.curve.terms;
    return { ...one, curve: { ...one.curve, terms: [start + seconds, ...rest] } };
  });
  return { ...profile, collectives };
}

/** Seconds of the passes of a point as this profile has it. */
export function passes(one: MeetingPoint, profile: DeviceProfile): number {
  const model = unwrap(importModel(one.config));
  const cluster = unwrap(withProfile(profileMachine({ ...profile, ranks: one.ranks }), profile));
  const time = new TimeModel(model, cluster, one.training, engineTraits("tessera", one.training));
  const { seconds, breakdown } = time.step(layoutOf(model, one.ranks), true);
  return seconds - breakdown.optimizer - breakdown.host;
}
