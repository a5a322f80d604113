"""Tiny configurations of the tested families, and worker specs for them."""

from __future__ import annotations

from typing import Any

from tessera_engine.spec import Spec

COMMON: dict[str, Any] = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 4, "max_position_embeddings": 256}
V4_KINDS = [
    "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention", "compressed_sparse_attention",
]  # fmt: skip


def config(name: str, **changes: Any) -> Any:
    """A fresh configuration object: v4, v3, qwen3moe, qwen3, llama, gptoss, glm4moe or mixtral."""
    import transformers as hf

    moe: dict[str, Any] = {"moe_intermediate_size": 32, "num_experts_per_tok": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "v4": (hf.DeepseekV4Config, {
            **moe, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 32, "q_lora_rank": 32,
            "n_routed_experts": 8, "layer_types": V4_KINDS, "mlp_layer_types": ["hash_moe", "moe", "moe", "moe"],
            "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
            "sliding_window": 16, "o_groups": 2, "o_lora_rank": 16, "index_n_heads": 2, "index_head_dim": 16,
            "index_topk": 4, "hc_mult": 2, "hc_sinkhorn_iters": 4, "num_nextn_predict_layers": 1,
        }),
        "v3": (hf.DeepseekV3Config, {
            **moe, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 4, "n_shared_experts": 1,
            "n_routed_experts": 8, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1, "q_lora_rank": 32,
            "kv_lora_rank": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "qk_nope_head_dim": 16,
            "num_nextn_predict_layers": 1,
        }),
        "qwen3moe": (hf.Qwen3MoeConfig, {
            **moe, **heads, "intermediate_size": 96, "num_experts": 8, "norm_topk_prob": True,
        }),
        "qwen3": (hf.Qwen3Config, {**heads, "intermediate_size": 96, "tie_word_embeddings": True}),
        "llama": (hf.LlamaConfig, {**heads, "intermediate_size": 96}),
        "mixtral": (hf.MixtralConfig, {**heads, "intermediate_size": 96, "num_local_experts": 8}),
        "gptoss": (hf.GptOssConfig, {**heads, "intermediate_size": 32, "num_local_experts": 8, "sliding_window": 16}),
        "glm4moe": (hf.Glm4MoeConfig, {
            **moe, **heads, "intermediate_size": 96, "n_routed_experts": 8, "n_shared_experts": 1, "n_group": 1,
            "topk_group": 1, "first_k_dense_replace": 1,
        }),
    }  # fmt: skip
    kind, fields = kinds[name]
    return kind(**{**COMMON, **fields, **changes})


def spec(
    pp: int = 1, ep: int = 1, shard: int = 1, replicate: int = 1, vpp: int = 1, micro: int = 1, **changes: Any
) -> Spec:
    """A spec of 8 rows of 64 tokens; `changes` replace or extend whole sections."""
    layout = {"pp": pp, "ep": ep, "dpShard": shard, "dpReplicate": replicate, "vpp": vpp}
    layout |= {"schedule": "interleaved1f1b" if vpp > 1 else "1f1b", **changes.pop("layout", {})}
    document: dict[str, Any] = {
        "v": 1, "run": "test", "seed": 3, "steps": 20, "model": {"config": "none"}, "layout": layout,
        "moe": {"biasRate": 0.001, "sequenceBalanceLoss": 0.001}, "mtp": {"lossWeight": 0.3},
        "indexer": {"lossWeight": 0.1}, "batch": {"sequenceLength": 64, "microBatch": micro, "globalBatch": 8},
        "optimizer": {"learningRate": 1e-3, "warmupSteps": 2, "weightDecay": 0.1},
    }  # fmt: skip
    return Spec.of({**document, **changes})
