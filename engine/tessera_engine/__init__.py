"""Tessera's worker: trains mixture-of-experts models on torch.distributed."""
