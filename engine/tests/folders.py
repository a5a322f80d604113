"""Small models and files that tests train, save and answer with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch


def v4_config(**changes: Any) -> Any:
    """All three attention kinds, one hash-routed and three learned layers, two hyper-connection streams.

    The indexer has many heads: with few, its ReLU leaves exact zeros, and which of several zeros the top-k takes
    depends on how many entries there are, so that even the plain class answers differently with and without its cache.
    """
    from transformers import DeepseekV4Config

    compressed, heavy = "compressed_sparse_attention", "heavily_compressed_attention"
    fields: dict[str, Any] = {
        "vocab_size": 96,
        "hidden_size": 64,
        "moe_intermediate_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "q_lora_rank": 32,
        "num_experts_per_tok": 2,
        "n_routed_experts": 8,
        "layer_types": ["sliding_attention", compressed, heavy, compressed],
        "compress_rates": {compressed: 4, heavy: 16},
        "mlp_layer_types": ["hash_moe", "moe", "moe", "moe"],
        "sliding_window": 16,
        "o_groups": 2,
        "o_lora_rank": 16,
        "index_n_heads": 32,
        "index_head_dim": 8,
        "index_topk": 4,
        "hc_mult": 2,
        "hc_sinkhorn_iters": 4,
        "num_nextn_predict_layers": 0,
        "max_position_embeddings": 256,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    return DeepseekV4Config(**{**fields, **changes})


def v4_folder(folder: Path, seed: int = 0, scale: float = 4.0, **changes: Any) -> Path:
    """A Hugging Face folder with random weights, by default with logits far apart, and a tokenizer of letters."""
    from transformers import DeepseekV4ForCausalLM

    torch.manual_seed(seed)
    model = DeepseekV4ForCausalLM(v4_config(**changes))
    with torch.no_grad():
        for layer in model.model.layers:
            if layer.mlp.is_hash:
                experts, k = model.config.n_routed_experts, model.config.num_experts_per_tok
                table = torch.stack([torch.randperm(experts)[:k] for _ in range(model.config.vocab_size)])
                layer.mlp.gate.tid2eid.copy_(table)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    model.save_pretrained(folder)
    tokenizer(folder)
    return folder


def tokenizer(folder: Path) -> None:
    """Printable ASCII, one token a character, and the special token <|end|>."""
    vocabulary = {chr(32 + i): i for i in range(95)} | {"<|end|>": 95}
    end = {"id": 95, "content": "<|end|>", "single_word": False, "lstrip": False, "rstrip": False}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{**end, "normalized": False, "special": True}],
        "normalizer": None,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": False},
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "?"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(document))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
