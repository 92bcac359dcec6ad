"""rsLoRA: an update that does not fade as the rank grows (its equation is in ``test_lora.py``)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from transrec_core.adapters.methods.lora import LoRA
from transrec_core.adapters.methods.rslora import RsLoRA


@pytest.mark.parametrize("rank", [1, 4, 16])
def test_it_is_lora_times_the_root_of_the_rank(rank):
    linear = nn.Linear(32, 32)
    plain, stable = (method(linear, rank, method.Config(alpha=2.0)) for method in (LoRA, RsLoRA))
    with torch.no_grad():
        plain.b.normal_()
    stable.load_state_dict(plain.state_dict())
    assert torch.allclose(stable.update(), rank**0.5 * plain.update(), atol=1e-6)
