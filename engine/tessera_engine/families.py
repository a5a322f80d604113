"""Model families: from a Hugging Face config to the module of one pipeline stage, on the meta device.

A stage keeps the names of the Hugging Face class (`model.layers.3.mlp.gate.weight`, `lm_head.weight`), whatever layers
it holds, so names mean the same in every layout. `Family` fits classes of the usual shape (embedding, decoder layers,
norm, head): Qwen3, Llama, Qwen3-MoE, DeepSeek-V3 ...; `DeepseekV4` adds hyper-connections, hash routing and the
indexer. The classes drop the multi-token-prediction layers of V3 and V4; we add them under `mtp.<depth>.`.

The last stage returns the loss itself, so logits never leave the stage and are made for rows with a target only.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tessera_engine import attention, dispatch, fused, losses
from tessera_engine.errors import EngineError
from tessera_engine.spec import Spec, slots_of
from tessera_engine.trace import Trace


class MtpLayer(nn.Module):
    """One depth of multi-token prediction: joins the state at token i with the embedding of token i + depth.

    `joined` True is V3's shape (one projection of both, concatenated), False is V4's (one projection each).
    """

    def __init__(self, config: Any, layer: nn.Module, norm: type[nn.Module], head: nn.Module | None) -> None:
        super().__init__()
        size, self.joined = config.hidden_size, head is None
        self.enorm, self.hnorm, self.norm = (norm(size, eps=config.rms_norm_eps) for _ in range(3))
        if self.joined:
            self.eh_proj = nn.Linear(2 * size, size, bias=False)
        else:
            self.e_proj, self.h_proj = (nn.Linear(size, size, bias=False) for _ in range(2))
            self.hc_head: Any = head
        self.layer = layer

    def forward(
        self, h: torch.Tensor, e: torch.Tensor, rows: torch.Tensor, **context: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """h [b, s, (streams,) d], the shifted embedding e [b, s, d] -> the next state, and the head input [1, r, d]."""
        e, h = self.enorm(e), self.hnorm(h)
        h = self.eh_proj(torch.cat([e, h], -1)) if self.joined else self.e_proj(e).unsqueeze(2) + self.h_proj(h)
        h = first(self.layer(h, **context))
        picked = h.flatten(0, 1).index_select(0, rows).unsqueeze(0)
        return h, self.norm(picked if self.joined else self.hc_head(picked))


def first(out: Any) -> torch.Tensor:
    """The hidden state of a layer's output; some classes return a tuple."""
    return out[0] if isinstance(out, tuple) else out


class Stage(nn.Module):
    """The layers of one virtual pipeline stage. Built on the meta device; `parallel` gives it storage."""

    def __init__(self, family: Family, model: nn.Module, layers: tuple[int, ...], first: bool, last: bool) -> None:
        super().__init__()
        self.family, self.first, self.last, self.numbers = family, first, last, layers
        source: Any = model.model
        self.model: Any = nn.Module()
        if first or (last and family.embeds_last):
            self.model.embed_tokens = source.embed_tokens
        self.model.layers = nn.ModuleDict({str(i): source.layers[i] for i in layers})
        self.model.rotary_emb = source.rotary_emb
        self.mtp = nn.ModuleDict()
        if last:
            for name in family.tail:
                setattr(self.model, name, getattr(source, name))
            self.lm_head: Any = model.lm_head
            if family.tied:
                self.lm_head.weight = self.model.embed_tokens.weight
            self.mtp = nn.ModuleDict({str(d): layer for d, layer in enumerate(family.mtp_layers(model))})

    def blocks(self) -> dict[str, nn.Module]:
        """Decoder layers by the number their placement and loads go by; MTP depth d is layer L + d."""
        own: dict[str, nn.Module] = dict(self.model.layers.items())
        return own | {str(self.family.depth + int(d)): block.layer for d, block in self.mtp.items()}

    def forward(
        self, x: torch.Tensor, input_ids: torch.Tensor | None = None, labels: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x: token ids [b, s] on the first stage, state elsewhere -> the next state, or the loss [1] on the last."""
        assert input_ids is not None and labels is not None
        family = self.family
        h = family.spread(self.model.embed_tokens(x)) if self.first else x
        if not self.first and x.requires_grad:
            x.register_hook(torch.Tensor.contiguous)
        context = family.context(self, h, input_ids)
        for i in self.numbers:
            h = first(self.model.layers[str(i)](h, **context, attention_mask=family.mask(i, h)))
        # Pipelines send states and gradients as they come, and only contiguous ones.
        return torch.stack([self._loss(h, input_ids, labels, context)]) if self.last else h.contiguous()

    def _loss(self, h: torch.Tensor, ids: torch.Tensor, labels: torch.Tensor, context: dict[str, Any]) -> torch.Tensor:
        family, trace = self.family, self.family.trace

        rows, targets = losses.with_target(labels, 1)
        picked = family.collapse(self.model, h.flatten(0, 1).index_select(0, rows).unsqueeze(0))
        loss = losses.cross_entropy_sum(self.lm_head(picked), targets) / trace.targets
        trace.add("main", loss)
        state = family.mtp_input(self.model, h)
        for d, block in self.mtp.items():
            depth = int(d) + 1
            rows, targets = losses.with_target(labels, depth + 1)
            shifted = torch.nn.functional.pad(ids[:, depth:], (0, depth))
            mask = family.mask(family.depth + int(d), h)
            state, picked = block(state, self.model.embed_tokens(shifted), rows, **context, attention_mask=mask)
            term = losses.cross_entropy_sum(self.lm_head(picked), targets) / trace.mtp_targets / len(self.mtp)
            trace.add("mtp", term)
            loss = loss + family.spec.mtp.loss_weight * term
        return loss


class Family:
    """What the engine must know about a model class. One object per engine, shared by its stages."""

    tail: tuple[str, ...] = ("norm",)

    def __init__(self, spec: Spec, config: Any, trace: Trace) -> None:
        self.spec, self.config, self.trace = spec, config, trace
        self.depth = int(config.num_hidden_layers)
        self.dtype = getattr(torch, spec.precision.param)
        self.tied = bool(getattr(config, "tie_word_embeddings", False))
        mtp = int(getattr(config, "num_nextn_predict_layers", 0) or 0)
        known = config.model_type in ("deepseek_v3", "deepseek_v4")
        self.mtp_depth = mtp if known and spec.mtp.loss_weight > 0 else 0
        self.embeds_last = self.tied or self.mtp_depth > 0
        self._masks: dict[Any, torch.Tensor] = {}

    @property
    def experts(self) -> int:
        """Logical experts of a layer; 0 for a dense model."""
        for name in ("n_routed_experts", "num_local_experts", "num_experts"):
            if getattr(self.config, name, None):
                return int(getattr(self.config, name))
        return 0

    def whole(self) -> nn.Module:
        """The Hugging Face model on the meta device, with our experts and attention implementations chosen."""
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING
        from transformers.initialization import no_init_weights

        kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(self.config), None)
        if kind is None:
            raise EngineError("ENGINE_MODEL_FAMILY", f"{self.config.model_type} has no causal language model class")
        dispatch.register()
        with torch.device("meta"), no_init_weights():
            model: Any = kind(self.config)
        self.config = model.config
        self.config._experts_implementation_internal = dispatch.NAME
        self.config._attn_implementation_internal = self.attention(kind)
        body = getattr(model, "model", None)
        if not all(hasattr(body, name) for name in ("embed_tokens", "layers", "rotary_emb", *self.tail)):
            raise EngineError("ENGINE_MODEL_FAMILY", f"{kind.__name__} is not of a shape this engine can split")
        return model

    def attention(self, kind: Any) -> str:
        """Name of the attention implementation."""
        return "sdpa" if getattr(kind, "_supports_sdpa", False) else "eager"

    def stage(self, model: nn.Module, layers: tuple[int, ...], first: bool, last: bool) -> Stage:
        """One stage with its objectives and recomputation in place, still on the meta device."""
        with torch.device("meta"):
            stage = Stage(self, model, layers, first, last)
        for module in stage.modules():
            if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
                module.forward = partial(fused.norm, module)
        for block in stage.blocks().values():
            self.prepare(block)
            if self.spec.layout.recompute == "full":
                _recompute(block, self.trace)
        stage.train()
        return stage

    def prepare(self, block: Any) -> None:
        """Adds the objectives of one decoder layer."""
        gate = getattr(block.mlp, "gate", None)
        if self.spec.moe.sequence_balance_loss > 0 and gate is not None and not hasattr(gate, "tid2eid"):
            losses.balance_sequences(gate, self.spec.moe.sequence_balance_loss, self.trace)

    def mtp_layers(self, model: Any) -> list[MtpLayer]:
        """Multi-token-prediction modules, on the meta device."""
        layer, norm = type(model.model.layers[-1]), type(model.model.norm)
        return [
            MtpLayer(self.config, layer(self.mtp_config(), self.depth + d), norm, self.mtp_head(model))
            for d in range(self.mtp_depth)
        ]

    def mtp_config(self) -> Any:
        """Configuration under which layers L.. exist."""
        config = copy.deepcopy(self.config)
        config.num_hidden_layers = self.depth + self.mtp_depth
        return self._keep_implementations(config)

    def _keep_implementations(self, config: Any) -> Any:
        config._experts_implementation_internal = self.config._experts_implementation_internal
        config._attn_implementation_internal = self.config._attn_implementation_internal
        return config

    def mtp_head(self, model: Any) -> nn.Module | None:
        """V4's collapse head of an MTP module."""
        return None

    def mtp_input(self, model: Any, h: torch.Tensor) -> torch.Tensor:
        """What the first MTP depth reads: V3 takes the normalised state."""
        return model.norm(h) if self.mtp_depth else h

    def spread(self, e: torch.Tensor) -> torch.Tensor:
        """Embedding [b, s, d] -> state of the first layer."""
        return e

    def collapse(self, model: Any, h: torch.Tensor) -> torch.Tensor:
        """Last state -> what the head reads, [b, s, d]."""
        return model.norm(h)

    def state_shape(self, rows: int, length: int) -> tuple[int, ...]:
        """Shape of the hidden state between stages."""
        return (rows, length, int(self.config.hidden_size))

    def context(self, stage: Stage, h: torch.Tensor, ids: torch.Tensor) -> dict[str, Any]:
        """Arguments that every layer of a stage takes."""
        positions = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
        return {
            "position_ids": positions,
            "position_embeddings": stage.model.rotary_emb(h, positions),
            "past_key_values": None,
        }

    def window(self, layer: int) -> int | None:
        """Sliding window of a layer in tokens, None for full attention."""
        kinds = getattr(self.config, "layer_types", None)
        window = getattr(self.config, "sliding_window", None)
        if kinds is not None:
            return window if kinds[min(layer, len(kinds) - 1)] == "sliding_attention" else None
        return window if getattr(self.config, "use_sliding_window", True) else None

    def mask(self, layer: int, h: torch.Tensor) -> torch.Tensor | None:
        """Additive attention mask [1, 1, s, s] of a layer; None where plain causal SDPA does without."""
        window = self.window(layer)
        if (window is None or window >= h.shape[1]) and self.config._attn_implementation == "sdpa":
            return None
        return self.sliding_mask(h, window or h.shape[1])

    def sliding_mask(self, h: torch.Tensor, window: int) -> torch.Tensor:
        """0 where 0 <= query - key < window, -inf elsewhere; made once."""
        key = (h.shape[1], window, h.device, h.dtype)
        if key not in self._masks:
            at = torch.arange(h.shape[1], device=h.device)
            gap = at[:, None] - at[None, :]
            seen = (gap >= 0) & (gap < window)
            zero = torch.zeros(seen.shape, device=h.device, dtype=h.dtype)
            self._masks[key] = zero.masked_fill(~seen, float("-inf"))[None, None]
        return self._masks[key]

    def slots(self, layer: int) -> list[int]:
        """Slot table of a layer from the spec's placement."""
        layout = self.spec.layout
        count = layout.slots_per_rank * layout.ep if layout.slots_per_rank else self.experts
        if count % layout.ep:
            raise EngineError("ENGINE_LAYOUT", f"ep {layout.ep} does not divide {count} expert slots")
        return slots_of(self.spec.placement, layer, self.experts, count, layout.ep)


class DeepseekV4(Family):
    """Hyper-connections, three attention kinds, hash-routed layers, the Lightning Indexer."""

    tail = ("norm", "hc_head")

    def prepare(self, block: Any) -> None:
        """Also computes the layer with our operations, which give the indexer its objective."""
        super().prepare(block)
        attention.prepare_v4(block, self.spec.indexer.loss_weight, self.trace)

    def mtp_config(self) -> Any:
        """MTP layers are sliding-window attention with a learned router."""
        config = copy.deepcopy(self.config)
        config.layer_types = [*config.layer_types, *["sliding_attention"] * self.mtp_depth]
        config.mlp_layer_types = [*config.mlp_layer_types, *["moe"] * self.mtp_depth]
        config.num_hidden_layers = self.depth + self.mtp_depth
        return self._keep_implementations(config)

    def mtp_head(self, model: Any) -> nn.Module | None:
        """Each depth collapses the streams with weights of its own."""
        return type(model.model.hc_head)(self.config)

    def mtp_input(self, model: Any, h: torch.Tensor) -> torch.Tensor:
        """The streams as the last layer left them."""
        return h

    def spread(self, e: torch.Tensor) -> torch.Tensor:
        """Copies the embedding into every stream: [b, s, streams, d]."""
        return e.unsqueeze(2).expand(-1, -1, self.config.hc_mult, -1).contiguous()

    def collapse(self, model: Any, h: torch.Tensor) -> torch.Tensor:
        """Streams -> one state, normalised."""
        return model.norm(model.hc_head(h))

    def state_shape(self, rows: int, length: int) -> tuple[int, ...]:
        """[b, s, streams, d]."""
        return (rows, length, int(self.config.hc_mult), int(self.config.hidden_size))

    def context(self, stage: Stage, h: torch.Tensor, ids: torch.Tensor) -> dict[str, Any]:
        """Two rotary bases, and the token ids for hash routing."""
        positions, rotary = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0), stage.model.rotary_emb
        one = h[:, :, 0]
        return {
            "position_ids": positions,
            "position_embeddings": {
                kind: rotary(one, position_ids=positions, layer_type=kind) for kind in ("main", "compress")
            },
            "past_key_values": None,
            "input_ids": ids,
        }

    def mask(self, layer: int, h: torch.Tensor) -> torch.Tensor | None:
        """Our attention knows what is seen."""
        return None


def family_of(spec: Spec, config: Any, trace: Trace) -> Family:
    """The family object for a configuration."""
    return (DeepseekV4 if config.model_type == "deepseek_v4" else Family)(spec, config, trace)


def _recompute(block: Any, trace: Trace) -> None:
    """Runs the layer's forward again in backward instead of keeping its activations."""
    inner = block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(
            inner, *args, use_reentrant=False, preserve_rng_state=False, context_fn=trace.recompute_contexts,
            determinism_check="none", **kwargs,
        )  # fmt: skip

    block.forward = forward
