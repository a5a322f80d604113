"""A DeepSeek-V3 or V4 model whose router prefers some experts, and packed text: `skewed_model.py FOLDER [options]`.

The skew is what a domain change leaves behind: a router that was even elsewhere and is not here. It is made by a bias
on the router's choice (DeepSeek's own correction bias), drawn once from a seed; training then routes for real. With
`--even` the bias is brought to where DeepSeek's rule would leave it after many steps on this text: an even router. The
text is this repository's documents and sources, as bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]


def text() -> bytes:
    """Documents and sources of the repository, in a fixed order."""
    files = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*.ts"), *ROOT.glob("engine/**/*.py")])
    return b"\n".join(file.read_bytes() for file in files)


def config(asked: argparse.Namespace) -> Any:
    """The class asked for, as wide as asked; everything but the experts is kept small."""
    import transformers as hf

    common: dict[str, Any] = {
        "vocab_size": 256, "hidden_size": asked.hidden, "num_hidden_layers": asked.layers,
        "max_position_embeddings": 1024, "moe_intermediate_size": asked.width, "n_routed_experts": asked.experts,
        "num_experts_per_tok": asked.top, "num_attention_heads": 4, "q_lora_rank": 32, "num_nextn_predict_layers": 0,
        "n_shared_experts": 1,
    }  # fmt: skip
    if asked.kind == "v3":
        return hf.DeepseekV3Config(
            **common, intermediate_size=asked.hidden, num_key_value_heads=4, n_group=1, topk_group=1,
            first_k_dense_replace=0, kv_lora_rank=32, qk_rope_head_dim=16, v_head_dim=16, qk_nope_head_dim=16,
        )  # fmt: skip
    kinds = ["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"]
    return hf.DeepseekV4Config(
        **common, num_key_value_heads=1, head_dim=32, layer_types=[kinds[i % 3] for i in range(asked.layers)],
        mlp_layer_types=["hash_moe", *["moe"] * (asked.layers - 1)], sliding_window=16, o_groups=2, o_lora_rank=16,
        compress_rates={"compressed_sparse_attention": 4, "heavily_compressed_attention": 8}, index_n_heads=4,
        index_head_dim=16, index_topk=4, hc_mult=2, hc_sinkhorn_iters=4,
    )  # fmt: skip


def even(model: Any, ids: torch.Tensor, rounds: int) -> None:
    """Moves every router's bias against its loads on random rows of `ids`, in steps that grow smaller."""
    seen: dict[int, torch.Tensor] = {}

    def count(index: int) -> Any:
        return lambda _module, inputs: seen.__setitem__(index, torch.bincount(inputs[1].flatten(), minlength=n))

    n = model.config.n_routed_experts
    blocks = [layer.mlp for layer in model.model.layers]
    hooks = [block.experts.register_forward_pre_hook(count(i)) for i, block in enumerate(blocks)]
    for turn in range(rounds):
        with torch.no_grad():
            model(ids[torch.randperm(ids.shape[0])[:16]].long())
            for i, block in enumerate(blocks):
                load = seen[i].float()
                block.gate.e_score_correction_bias += 0.05 * (1 - turn / rounds) * (load.mean() - load).sign()
    for hook in hooks:
        hook.remove()


def main() -> None:
    """Writes `base/` and `train.safetensors`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=["v3", "v4"], default="v3")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--experts", type=int, default=16)
    parser.add_argument("--top", type=int, default=2)
    parser.add_argument("--skew", type=float, default=0.0, help="standard deviation of the bias, in units of the scores'")
    parser.add_argument("--even", type=int, default=0, help="rounds of evening the router out")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--seed", type=int, default=3)
    asked = parser.parse_args()
    import transformers as hf

    torch.manual_seed(asked.seed)
    kind = hf.DeepseekV3ForCausalLM if asked.kind == "v3" else hf.DeepseekV4ForCausalLM
    model = kind(config(asked))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4.0)
        for layer in model.model.layers:
            gate = layer.mlp.gate
            if hasattr(gate, "tid2eid"):
                table = [torch.randperm(asked.experts)[: asked.top] for _ in range(256)]
                gate.tid2eid.copy_(torch.stack(table))
            else:
                gate.e_score_correction_bias.copy_(asked.skew * 0.1 * torch.randn(asked.experts))
    data = torch.frombuffer(bytearray(text()), dtype=torch.uint8).to(torch.int32)
    ids = data[: asked.rows * asked.length].view(-1, asked.length).clone()
    if asked.even:
        even(model, ids, asked.even)
    model.save_pretrained(asked.folder / "base")
    save_file({"input_ids": ids, "labels": ids.clone()}, asked.folder / "train.safetensors")


main()
