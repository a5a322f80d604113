/** Runs an unmodified EPLB file (a module with `rebalance_experts`) in Python on the loads of a benchmark. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { Loads } from "../../src/experts/index.ts";

const PROGRAM = `
import importlib.util, json, sys, time
spec = importlib.util.spec_from_file_location("peer", sys.argv[1])
peer = importlib.util.module_from_spec(spec); spec.loader.exec_module(peer)
import torch
torch.set_num_threads(1)
out = []
for job in json.load(sys.stdin):
    weight = torch.tensor(job["loads"], dtype=torch.float64)
    start = time.process_time()
    maps, _, _ = peer.rebalance_experts(weight, job["slots"], job["groups"], job["nodes"], job["ranks"])
    out.append({"cpuMs": (time.process_time() - start) * 1000, "slots": maps.tolist()})
json.dump(out, sys.stdout)
`;

export type PeerJob = {
  readonly loads: Loads;
  readonly slots: number;
  readonly groups: number;
  readonly nodes: number;
  readonly ranks: number;
};
export type PeerAnswer = { readonly cpuMs: number; readonly slots: readonly (readonly number[])[] };

export function runPeer(path: string, jobs: readonly PeerJob[]): PeerAnswer[] {
  const own = resolve(import.meta.dirname, "../../.venv/bin/python");
  const python = process.env["TESSERA_PYTHON"] ?? (existsSync(own) ? own : "python3");
  const input = jobs.map(({ loads, ...rest }) => ({
    ...rest,
    loads: Array.from({ length: loads.layers }, (_, l) =>
      Array.from(loads.values.subarray(l * loads.experts, (l + 1) * loads.experts)),
    ),
  }));
  const done = spawnSync(python, ["-c", PROGRAM, resolve(path)], {
    input: JSON.stringify(input),
    encoding: "utf8",
    maxBuffer: 1 << 30,
    cwd: dirname(resolve(path)),
    env: { ...process.env, OMP_NUM_THREADS: "1" },
  });
  if (done.status !== 0) {
    console.error(`the peer failed:\n${done.stderr}`);
    process.exit(3);
  }
  return JSON.parse(done.stdout) as PeerAnswer[];
}
