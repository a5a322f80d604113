"""Parameters that transformers' own causal language model classes hold for their default configs, one JSON line a type.

The classes are built on the meta device: no memory is used, and tied weights count once, as `Module.parameters` gives them.
"""

from __future__ import annotations

import json
import sys
import warnings

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

# Classes whose defaults leave a hole that their own code needs filled.
FILLED: dict[str, dict[str, object]] = {
    "deepseek_v2": {
        "num_experts_per_tok": 6,
        "n_routed_experts": 64,
        "moe_intermediate_size": 1408,
    },
    "dots1": {"n_routed_experts": 128, "num_experts_per_tok": 6, "n_shared_experts": 2},
    "glm4_moe": {"head_dim": 128},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 16, "moe_topk": 2},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 8},
    "ministral": {"head_dim": 128},
    "nemotron": {"head_dim": 128, "num_key_value_heads": 8},
}


def count(model_type: str) -> dict[str, object]:
    config = CONFIG_MAPPING[model_type](**FILLED.get(model_type, {}))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    parameters = sum(p.numel() for p in model.parameters())
    text = json.loads(config.to_json_string(use_diff=False))
    return {"type": model_type, "parameters": parameters, "config": text}


def main() -> None:
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    for model_type in sys.argv[1:] or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        try:
            line = count(model_type)
        except (
            Exception
        ) as error:  # classes that need an extra package or a hand-made config say so
            line = {
                "type": model_type,
                "error": f"{type(error).__name__}: {error}"[:200],
            }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
