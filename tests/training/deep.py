"""Three layers with adapters on some of them, and what tests of a training step compare."""

from __future__ import annotations

import torch

from tests import tiny
from transrec_core.adapters import AdapterConfig
from transrec_core.data.batching import Batch, Batcher
from transrec_core.data.domain import Domain
from transrec_core.models import ModelSpec, TransRec, fresh_backbone

DEEP = {
    family: config | {"n_layers" if family == "distilbert" else "num_hidden_layers": 3}
    for family, config in tiny.BACKBONES.items()
}


def deep_model(family: str, dropout: float = 0.0, **fields) -> TransRec:
    """Three layers; with ``fields`` of a configuration, an adapter that trains."""
    names = (
        ("dropout", "attention_dropout")
        if family == "distilbert"
        else ("hidden_dropout_prob", "attention_probs_dropout_prob")
    )
    backbone = fresh_backbone(DEEP[family] | dict.fromkeys(names, dropout), 0)
    model = TransRec.from_backbone(backbone, ModelSpec(dim=16, max_len=10, dropout=0.0, blocks=3), 0)
    if fields:
        model.add_adapter("a", AdapterConfig(**{"item_size": 8, "user_size": 4} | fields))
        tiny.stir(model.adapters)
        model.train_adapter("a")
    return model


def gradients(model: TransRec) -> dict[str, torch.Tensor]:
    """Those that there are, which are then cleared."""
    values = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    assert values
    return values


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert torch.allclose(gradient, theirs[name], atol=1e-5, rtol=1e-5), name


def batch_of(domain: Domain, loss: str = "batch") -> Batch:
    return Batcher(domain.split.train, "sasrec", loss, 32, 10, 0).batch(0)
