import { catalog, EXIT, unwrap } from "../../../src/base/index.ts";
import { type Cluster, type NodeGroup, presetCluster } from "../../../src/cluster/index.ts";
import {
  buildOrder,
  fits,
  type Layout,
  layoutName,
  PASS,
  passKind,
  passMicro,
  passStage,
  type PlanRequest,
  PRECISIONS,
  predictMemory,
  simulate,
  stageHomes,
  type StepTime,
  TimeModel,
  type Training,
  engineTraits,
} from "../../../src/layout/index.ts";
import { importModel, type Model } from "../../../src/model/index.ts";
import type { Bar, View } from "./protocol.ts";
import { type Controls, configOf } from "./state.ts";

const fail = catalog({
  PAGE_NODES: {
    exit: EXIT.usage,
    message: {
      en: "{devices} x {device} do not fill whole nodes",
      zh: "{devices} 個 {device} 無法填滿整節點",
    },
    next: { en: "move the slider to another count", zh: "請把滑桿移到其他數量" },
  },
});

/** The last model read: a drag asks for the same one many times a second. */
let known: { config: string; model: Model } | undefined;

function modelOf(c: Controls): Model {
  const config = configOf(c);
  const text = JSON.stringify(config);
  if (known?.config !== text) {
    known = { config: text, model: unwrap(importModel(config, { name: c.model, text })) };
  }
  return known.model;
}

function clusterOf(c: Controls): Cluster {
  const of = (device: string, devices: number): Cluster => {
    const base = presetCluster(device, devices);
    if (!base) throw fail("PAGE_NODES", { device, devices });
    return base;
  };
  const change = (group: NodeGroup): NodeGroup => ({
    ...group,
    device: { ...group.device, memoryBytes: group.device.memoryBytes * c.memory },
    links: group.links.map((link) => ({ ...link, bandwidth: link.bandwidth * c.network })),
  });
  const base = of(c.device, c.devices);
  if (c.second === "") return { ...base, groups: base.groups.map(change) };
  const other = of(c.second, c.secondDevices);
  return {
    ...base,
    name: `${base.name} + ${other.name}`,
    groups: [...base.groups, ...other.groups].map(change),
    // Two kinds of devices meet on an ordinary network: 100 Gb/s each.
    between: {
      name: "RoCE",
      span: Number.POSITIVE_INFINITY,
      bandwidth: 12.5e9 * c.network,
      efficiency: 0.8,
      latency: 20e-6,
    },
  };
}

export function requestOf(c: Controls): PlanRequest {
  return {
    model: modelOf(c),
    cluster: clusterOf(c),
    training: {
      sequence: c.sequence,
      microBatch: 1,
      globalBatch: c.batch,
      precision: PRECISIONS[c.precision].precision,
      optimizer: c.optimizer,
      mtp: c.mtp,
    },
    constraints: {
      engine: c.engine,
      ...(c.swap === "auto" ? {} : { optimizerOffload: [c.swap === "yes" ? 1 : 0] }),
    },
    traits: {
      ...PRECISIONS[c.precision].traits,
      ...(c.compute === "" ? {} : { compute: c.compute, expertCompute: c.compute }),
      imbalance: c.imbalance,
    },
    alternatives: 8,
    simulate: 800,
  };
}

/** One layout in pictures: memory of every rank, time, and the passes of the first rounds. */
export function viewOf(request: PlanRequest, layout: Layout, training: Training): View {
  const { model, cluster, constraints } = request;
  const traits = engineTraits(constraints.engine, training, request.traits);
  const step = new TimeModel(model, cluster, training, traits).step(layout);
  const { costs: _costs, ...time } = step;
  const homes = stageHomes(cluster, layout);
  const memory = predictMemory(model, layout, training, constraints.engine, homes, traits);
  return {
    name: layoutName(layout, training.microBatch),
    layout,
    training,
    time,
    memory,
    free: fits(memory, layout, homes, 0).free,
    capacity: homes.map((home) => home.device.memoryBytes),
    devices: homes.map((home) => home.device.title),
    bars: bars(layout, step),
  };
}

/** Passes of the first rounds, as rectangles in seconds. */
function bars(layout: Layout, step: StepTime): Bar[] {
  if (layout.pp === 1) return [];
  const rounds = layout.schedule === "interleaved1f1b" ? 3 * layout.pp : 3 * layout.pp + 2;
  const micros = Math.min(step.microBatches, rounds);
  const order = buildOrder(layout.schedule, layout.pp, layout.vpp, micros);
  const { start, end } = simulate(order, step.costs, true);
  if (!start || !end) return [];
  const out: Bar[] = [];
  for (let rank = 0; rank < layout.pp; rank++) {
    for (let at = order.starts[rank] as number; at < (order.starts[rank + 1] as number); at++) {
      const word = order.passes[at] as number;
      const kind = passKind(word);
      out.push([
        rank,
        start[at] as number,
        end[at] as number,
        kind === PASS.backwardWeight ? 2 : kind === PASS.forward || kind === PASS.forwardPaired ? 0 : 1,
        Math.floor(passStage(word) / layout.pp),
        passMicro(word),
      ]);
    }
  }
  return out;
}
