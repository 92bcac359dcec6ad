"""What the tests of adapters have in common: small settings, the matrix of methods and encoders, and models
with an adapter.
"""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.models import TransRec

SMALL = {"item_size": 8, "user_size": 4, "encoders": "both"}
PROMPTS = {
    m for m, cls in METHODS.items() if not cls.identity_at_start
}  # they alone change outputs from the start
LINEAR = [m for m, cls in METHODS.items() if cls.merges]

#: One text and one picture encoder stand for the others in `make test-fast`.
FAST = ("bert", "vit")


def families(*fast: str) -> pytest.MarkDecorator:
    """Every encoder family, those that are not in ``fast`` marked as slow."""
    values = [f if f in fast else pytest.param(f, marks=pytest.mark.slow) for f in tiny.BACKBONES]
    return pytest.mark.parametrize("family", values)


ALL = pytest.mark.parametrize("method", METHODS)
EVERYWHERE = families(*FAST)
FAMILY = pytest.mark.parametrize("family", ["bert", pytest.param("vit", marks=pytest.mark.slow)])
OBJECTIVES = pytest.mark.parametrize("objective", ["sasrec", "cpc"])


def scores(model: TransRec, family: str) -> torch.Tensor:
    """Scores of all items for a few users: everything that a user of the model can see."""
    model.eval()
    domain = tiny.domain(tiny.MODALITY[family])
    vectors = model.catalogue(domain.catalog)
    padded = torch.from_numpy(domain.interactions.padded(range(8), 10))
    with torch.no_grad():
        return model.encode_users(vectors[padded]) @ vectors.T


def with_adapter(
    family: str, method: str, objective: str = "sasrec", stirred: bool = True, **fields
) -> TransRec:
    model = tiny.model(family, objective)
    model.add_adapter("a", AdapterConfig(method=method, **(SMALL | fields)))
    if stirred:
        tiny.stir(model.adapters)
    return model


def with_fresh_adapter(method: str, family: str = "bert", **fields) -> TransRec:
    return with_adapter(family, method, stirred=False, **fields)


def inputs(family: str) -> tuple[dict, torch.Tensor]:
    """Content of eight items, and three histories of them."""
    content = tiny.catalog(tiny.MODALITY[family]).batch(torch.arange(1, 9))
    return content, torch.tensor([[0, 3, 2], [5, 1, 7], [4, 4, 6]])
