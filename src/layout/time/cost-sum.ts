import { collectiveSeconds, type MathFormat } from "../../cluster/index.ts";
import type {
  Attention,
  CompressedAttention,
  ModuleName,
  MoeFeedForward,
  Sublayer,
  Weight,
} from "../../model/types.ts";
import type { RecomputeRegion } from "../layout.ts";
import type { LayerContext, LayerCost, ModuleCost } from "./context.ts";
import { type Exchange, latentExchanges } from "./latents.ts";
import { visitedBlocks } from "./visits.ts";
import { attentionFlops, headWidths, type HeadWidths, indexerFlops } from "./attention.ts";
import { BIAS_BYTES, CAST_BYTES, CAST_KERNELS, CLAMP_BYTES } from "./unfused.ts";
import {
  attentionSeconds,
  gemmSeconds,
  groupedSeconds,
  groupedWeightSeconds,
  streamSeconds,
} from "./kernels.ts";
import {
  addTerms,
  ATTENTION,
  CONTEXT,
  EXPERT,
  GROUPED,
  MATRIX,
  noTerms,
  TENSOR,
  type Terms,
  total,
  VECTOR,
} from "./terms.ts";

/** Adds up what one micro-batch costs on one rank: kernels and collectives, by module and term. */
export class CostSum {
  readonly #c: LayerContext;
  readonly #modules = new Map<ModuleName, ModuleCost>();
  readonly #regions: Partial<Record<RecomputeRegion, Terms>> = {};
  /** Tokens where tensor parallelism leaves activations cut along the sequence. */
  readonly #cutTokens: number;

  constructor(context: LayerContext) {
    this.#c = context;
    this.#cutTokens = context.sequenceParallel ? context.tokens / context.tp : context.tokens;
  }

  #of(module: ModuleName): ModuleCost {
    let found = this.#modules.get(module);
    if (!found) {
      found = { module, forward: noTerms(), backward: noTerms(), weight: noTerms() };
      this.#modules.set(module, found);
    }
    return found;
  }
  #add(terms: Terms, index: number, seconds: number): void {
    terms[index] = (terms[index] as number) + seconds;
  }
  #region(name: RecomputeRegion, index: number, seconds: number): void {
    let terms = this.#regions[name];
    if (!terms) {
      terms = noTerms();
      this.#regions[name] = terms;
    }
    this.#add(terms, index, seconds);
  }

  stream(
    module: ModuleName,
    forward: number,
    kernels: number,
    backward: number,
    backwardKernels: number,
  ): number {
    const cost = this.#of(module);
    const seconds = streamSeconds(this.#c.device, forward, kernels);
    this.#add(cost.forward, VECTOR, seconds);
    this.#add(cost.backward, VECTOR, streamSeconds(this.#c.device, backward, backwardKernels));
    return seconds;
  }

  norms(weights: readonly Weight[]): void {
    const { activationBytes: a } = this.#c;
    for (const weight of weights) {
      if (weight.module !== "norm") continue;
      const size = this.#cutTokens * (weight.shape[0] as number) * a;
      this.#region("norm", VECTOR, this.stream("norm", 2 * size, 1, 3 * size, 2));
    }
  }

  residuals(branches: number): void {
    const size = this.#cutTokens * this.#c.hidden * this.#c.activationBytes;
    for (let i = 0; i < branches; i++) this.stream("norm", 3 * size, 1, 2 * size, 1);
  }

  /**
   * Every branch reads the streams mixed into one, and adds its output to all of them: the streams are read for the mix, and read
   * and written for the sum (their norm rides on the product that makes the maps, which counts its own reading). Backward goes
   * through both, the norm writes a gradient as well, and the three gradients of the streams are summed in two passes.
   */
  hyperConnections(branches: number): void {
    const { hidden, streams, activationBytes: a } = this.#c;
    const one = this.#cutTokens * hidden * a;
    for (let i = 0; i < branches; i++) {
      const bytes = (3 * streams + 2) * one;
      const sums = 2 * 3 * streams * one;
      const seconds = this.stream("hyperConnection", bytes, 8, (7 * streams + 3) * one + sums, 16);
      this.#region("hyperConnection", VECTOR, seconds);
    }
  }

  /** All matrix products of these weights. Projections of one input that stand side by side run as one product. */
  linears(weights: readonly Weight[], tokens: number): void {
    const merged = new Map<
      string,
      { module: ModuleName; m: number; n: number; k: number; format: MathFormat; up: boolean }
    >();
    const { tp, format } = this.#c;
    for (const weight of weights) {
      if (weight.use !== "linear" || weight.cut.kind === "expert") continue;
      const [out, into] = weight.shape as [number, number];
      const cut = weight.cut.kind === "tensor" ? weight.cut.dim : -1;
      const m = cut < 0 ? (this.#cutTokens * tokens) / this.#c.tokens : tokens;
      const n = cut === 0 ? out / tp : out;
      const k = cut === 1 ? into / tp : into;
      const fp32 = weight.module === "router" || weight.module === "hyperConnection";
      const key = `${weight.module}:${cut}:${k}`;
      const same = cut === 1 ? undefined : merged.get(key);
      if (same) same.n += n;
      else {
        merged.set(cut === 1 ? `${key}:${weight.name}` : key, {
          module: weight.module,
          m,
          n,
          k,
          format: fp32 ? "bf16" : format,
          up: /_b_proj/.test(weight.name) && cut === 0,
        });
      }
    }
    for (const { module, m, n, k, format: f, up } of merged.values()) {
      const cost = this.#of(module);
      const { device, gradientBytes } = this.#c;
      const forward = gemmSeconds(device, f, m, n, k);
      this.#add(cost.forward, MATRIX, forward);
      this.#add(cost.backward, MATRIX, gemmSeconds(device, f, m, k, n));
      this.#add(cost.weight, MATRIX, gemmSeconds(device, f, n, k, m, 2 * gradientBytes));
      if (up) this.#region("upProjection", MATRIX, forward);
      this.#cast(module, f, m, n, k);
    }
  }

  /** Products in few bits read scaled copies: inputs are cast with their transpose, gradients likewise. */
  #cast(module: ModuleName, format: MathFormat, m: number, n: number, k: number): void {
    if (format !== "fp8" && format !== "fp4") return;
    const [bytes, kernels] = [CAST_BYTES[format], CAST_KERNELS[format]];
    this.stream(module, m * k * bytes, kernels, m * n * bytes, kernels);
  }

  /**
   * Collectives around a tensor-parallel branch: gathers of its input and reduce-scatters of its output (all-reduce without
   * sequence parallelism); backward mirrors them.
   */
  tensor(module: ModuleName, gathers: number, scatters: number, bytes: number): void {
    const { wires, tp, sequenceParallel, tensorOverlap } = this.#c;
    if (tp <= 1) return;
    const span = { size: tp, stride: 1 };
    const open = 1 - tensorOverlap;
    const gather = collectiveSeconds(wires, "allGather", bytes, span) * open;
    const scatter = collectiveSeconds(wires, "reduceScatter", bytes, span) * open;
    const cost = this.#of(module);
    if (sequenceParallel) {
      this.#add(cost.forward, TENSOR, gathers * gather + scatters * scatter);
      // The gathered input was not kept, so the weight gradient gathers it once more.
      this.#add(cost.backward, TENSOR, gathers * (scatter + gather) + scatters * gather);
    } else {
      const reduce = collectiveSeconds(wires, "allReduce", bytes, span) * open;
      this.#add(cost.forward, TENSOR, scatters * reduce);
      this.#add(cost.backward, TENSOR, gathers * reduce);
    }
  }

  #latents(spec: CompressedAttention): void {
    const { wires, tp, tokens, hidden, activationBytes: a, tensorOverlap } = this.#c;
    const seconds = (list: readonly Exchange[]) =>
      list.reduce(
        (sum, { kind, width }) =>
          sum + collectiveSeconds(wires, kind, tokens * width * a, { size: tp, stride: 1 }),
        0,
      ) *
      (1 - tensorOverlap);
    const { forward, backward } = latentExchanges(spec, hidden);
    const cost = this.#of("attention");
    this.#add(cost.forward, TENSOR, seconds(forward));
    this.#add(cost.backward, TENSOR, seconds(backward));
  }

  attention(spec: Attention, weights: readonly Weight[]): void {
    const c = this.#c;
    const { tokens, tp, cp, hidden, activationBytes: a, device } = c;
    this.linears(weights, tokens);
    if (spec.kind === "compressed" && c.sequenceParallel) this.#latents(spec);
    else this.tensor("attention", 1, 1, tokens * hidden * a);
    const flops = (attentionFlops(spec, c.sequence) * tokens) / tp;
    const sparse = spec.kind !== "linear" && spec.indexer !== null ? true : spec.kind === "compressed";
    const cost = this.#of("attention");
    const width = headWidths(spec);
    const core = attentionSeconds(device, flops, false, sparse, width.head);
    this.#add(cost.forward, ATTENTION, core);
    this.#add(cost.backward, ATTENTION, attentionSeconds(device, flops, true, sparse, width.head));
    this.#region("coreAttention", ATTENTION, core);
    const scoring = indexerFlops(spec, c.sequence) * (c.sequenceParallel ? this.#cutTokens : tokens);
    if (scoring > 0) {
      const indexer = this.#of("indexer");
      this.#add(indexer.forward, ATTENTION, attentionSeconds(device, scoring, false, true));
      this.#add(indexer.backward, ATTENTION, attentionSeconds(device, scoring, true, true));
    }
    // Rotation, head norms, layout changes and what the latent projections normalise.
    const bytes = ((width.query + width.keyValue + width.output) / tp + width.latent) * tokens * a;
    this.stream("attention", 2 * bytes, 4, 3 * bytes, 6);
    if (cp > 1) this.#context(spec, width);
  }

  #context(spec: Attention, width: HeadWidths): void {
    const { tokens, tp, cp, contextParallel, wires, activationBytes: a } = this.#c;
    const span = { size: cp, stride: tp };
    const cost = this.#of("attention");
    const shared = spec.kind === "grouped" || spec.kind === "linear" ? tp : 1;
    if (contextParallel === "ulysses") {
      const bytes = ((width.query + width.output) / tp + width.keyValue / shared) * tokens * a;
      const seconds = collectiveSeconds(wires, "allToAll", bytes, span) + wires.collectiveSeconds;
      this.#add(cost.forward, CONTEXT, seconds);
      this.#add(cost.backward, CONTEXT, seconds);
      return;
    }
    const bytes = (width.keyValue / shared) * tokens * cp * a;
    const gather = collectiveSeconds(wires, "allGather", bytes, span);
    const scatter = collectiveSeconds(wires, "reduceScatter", bytes, span);
    // A ring passes blocks on while it multiplies; only what is longer than the products stays open.
    const core = contextParallel === "ring" ? (this.#of("attention").forward[ATTENTION] as number) : 0;
    this.#add(cost.forward, CONTEXT, Math.max(gather - core, wires.collectiveSeconds));
    this.#add(cost.backward, CONTEXT, Math.max(gather + scatter - 2.5 * core, wires.collectiveSeconds));
  }

  dense(sublayer: Sublayer & { role: "feedForward" }): void {
    const { tokens, tp, hidden, activationBytes: a } = this.#c;
    this.linears(sublayer.weights, tokens);
    this.tensor("mlp", 1, 1, tokens * hidden * a);
    const { width, gated } = sublayer.spec;
    const size = ((tokens * width) / tp) * a;
    this.stream("mlp", (gated ? 3 : 2) * size, 1, (gated ? 5 : 3) * size, 1);
  }

  moe(spec: MoeFeedForward, weights: readonly Weight[]): void {
    const c = this.#c;
    const { tp, ep, etp, hidden, activationBytes: a, device, imbalance, gradientBytes, expertFormat } = c;
    this.linears(weights, c.tokens);
    const mine = this.#cutTokens;
    const router = mine * (spec.experts + spec.zeroExperts) * 4;
    this.stream("router", 4 * router, 4, 3 * router, 3);
    const real = spec.topK * (spec.experts / (spec.experts + spec.zeroExperts));
    const routed = mine * real * imbalance * etp;
    const width = spec.width / etp;
    const local = spec.experts / ep;
    const perExpert = routed / local;
    const experts = this.#of("experts");
    const shapes: [number, number][] = [
      [(spec.gated ? 2 : 1) * width, spec.expertHidden],
      [spec.expertHidden, width],
    ];
    for (const [n, k] of shapes) {
      this.#add(experts.forward, GROUPED, groupedSeconds(device, expertFormat, local, perExpert, n, k));
      this.#add(experts.backward, GROUPED, groupedSeconds(device, expertFormat, local, perExpert, k, n));
      this.#add(
        experts.weight,
        GROUPED,
        groupedWeightSeconds(device, expertFormat, local, perExpert, n, k, 2 * gradientBytes),
      );
      if (!c.fusedCasts) this.#cast("experts", expertFormat, routed, n, k);
    }
    const inner = routed * width * a;
    const activation = this.stream(
      "experts",
      (spec.gated ? 3 : 2) * inner,
      1,
      (spec.gated ? 5 : 3) * inner,
      1,
    );
    this.#region("moeActivation", VECTOR, activation);
    if (!c.fusedBias && weights.some(({ use, cut }) => use === "vector" && cut.kind === "expert"))
      this.#unfusedBias(routed, width, spec, local);
    if (c.stash) {
      // Both products keep their inputs in the products' format, and the activation its own as it was written.
      const kept = routed * (width + spec.expertHidden) * (expertFormat === "bf16" ? a : 1);
      const stashed = 2 * (kept + (spec.gated ? 2 : 1) * inner);
      this.stream("experts", stashed, 3, stashed, 3);
    }
    // Tokens are copied into expert order before and after the exchange, and weighted on the way back. A dispatcher that sends a
    // token once to a rank copies it for its experts only there.
    const moved = routed * spec.expertHidden * a;
    const copies = ep > 1 && !c.deduplicate ? 2 : 1;
    this.stream("experts", (4 * copies + 1) * moved, 4 * copies, (4 * copies + 2) * moved, 4 * copies);
    if (spec.sharedWidth > 0) {
      const size = ((c.tokens * spec.sharedWidth) / tp) * a;
      this.stream("sharedExperts", 3 * size, 1, 5 * size, 1);
      this.tensor("sharedExperts", 1, 1, c.tokens * hidden * a);
    }
    this.#exchange(experts, spec, mine * real);
  }

  /** Stacks whose products take no bias clamp and add it expert by expert, in kernels of their own. */
  #unfusedBias(routed: number, width: number, spec: MoeFeedForward, local: number): void {
    const into = routed * (spec.gated ? 2 : 1) * width;
    const clamps = this.stream("experts", into * CLAMP_BYTES.forward, 3, into * CLAMP_BYTES.backward, 3);
    this.#region("moeActivation", VECTOR, clamps);
    const out = routed * spec.expertHidden;
    const kernels = 2 * local;
    this.stream("experts", out * BIAS_BYTES.forward, kernels + 2, out * BIAS_BYTES.backward, 3 * kernels);
  }

  #exchange(experts: ModuleCost, spec: MoeFeedForward, copies: number): void {
    const {
      ep,
      etp,
      wires,
      dispatchBytes,
      activationBytes: a,
      imbalance,
      deduplicate,
      consecutive,
    } = this.#c;
    if (ep > 1) {
      const span = { size: ep, stride: etp };
      const kept = (blocks: number) =>
        deduplicate ? visitedBlocks(spec, blocks, consecutive) / spec.topK : 1;
      const one = (bytes: number) =>
        collectiveSeconds(wires, "allToAll", copies * spec.expertHidden * bytes * imbalance, span, kept);
      const dispatch = one(dispatchBytes);
      const combine = one(a);
      // How many rows will come is told first; only where a start is measured does it weigh anything.
      const counts = wires.measured ? collectiveSeconds(wires, "allToAll", 8 * spec.experts, span) : 0;
      this.#add(experts.forward, EXPERT, dispatch + combine + counts);
      this.#add(experts.backward, EXPERT, combine + combine);
    }
    if (etp > 1) {
      const bytes = copies * imbalance * etp * spec.expertHidden * a;
      const span = { size: etp, stride: 1 };
      const seconds =
        collectiveSeconds(wires, "allGather", bytes, span) +
        collectiveSeconds(wires, "reduceScatter", bytes, span);
      this.#add(experts.forward, EXPERT, seconds);
      this.#add(experts.backward, EXPERT, seconds);
    }
  }

  finish(): LayerCost {
    const [forward, backward, weight] = [noTerms(), noTerms(), noTerms()];
    const modules = [...this.#modules.values()];
    for (const cost of modules) {
      addTerms(forward, cost.forward);
      addTerms(backward, cost.backward);
      addTerms(weight, cost.weight);
    }
    const of = (...names: ModuleName[]) =>
      names.reduce((sum, name) => addTerms(sum, this.#modules.get(name)?.forward ?? noTerms()), noTerms());
    return {
      modules,
      forward,
      backward,
      weight,
      forwardSeconds: total(forward),
      backwardSeconds: total(backward) + total(weight),
      regions: {
        ...this.#regions,
        attention: of("attention", "indexer", "compressor", "linearAttention"),
        mlp: of("mlp"),
        moe: of("router", "experts", "sharedExperts", "latent"),
        sharedExperts: of("sharedExperts"),
      },
    };
  }
}
