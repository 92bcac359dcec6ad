"""A killed run ends in the same bits; a file that is none of its checkpoints is named."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from transrec_core.adapters import AdapterConfig
from transrec_core.base.errors import UserError
from transrec_core.training.spec import TrainSpec
from transrec_core.training.trainer import fit

QUICK = TrainSpec(steps=6, min_steps=0, eval_every=2, batch_size=16, warmup=2)


class Killed(Exception):
    """Stands for a kill right after a checkpoint was written."""


@pytest.mark.parametrize("adapter", [None, AdapterConfig(method="houlsby", item_size=4, user_size=4)])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_law_8_a_resumed_run_ends_in_the_same_bits(adapter, dropout, tmp_path):
    def fresh():
        model = tiny.model()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
        if adapter:
            torch.manual_seed(0)
            model.add_adapter("a", adapter)
            model.train_adapter("a")
        return model

    domain = tiny.domain("text")
    whole = fresh()
    expected = fit(whole, domain, QUICK, 5, show_progress=False)

    def kill(progress):
        if progress.step == 4:
            raise Killed

    with pytest.raises(Killed):
        fit(fresh(), domain, QUICK, 5, tmp_path / "c.safetensors", False, kill)
    resumed = fresh()
    progress = fit(resumed, domain, QUICK, 5, tmp_path / "c.safetensors", False)
    assert progress.history == expected.history and progress.best_step == expected.best_step
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="c.safetensors"):
        fit(tiny.model(), tiny.domain("text"), QUICK, 0, path, False)
