"""Models saved and read again, on every backbone family; precision; and what a damaged folder says."""

from __future__ import annotations

import json

import pytest
import torch

from tests import tiny
from transrec_core.adapters import AdapterConfig
from transrec_core.base.errors import UserError
from transrec_core.models import IdEncoder, ModelSpec, TransRec
from transrec_core.training.spec import StepSizes, TrainSpec
from transrec_core.training.trainer import fit


@pytest.mark.parametrize("family", [*tiny.BACKBONES, "id"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_save_and_from_pretrained_give_the_same_bits(family, pooling, tmp_path):
    if family == "id":
        model, catalog = TransRec(IdEncoder(tiny.ITEMS, 16), ModelSpec(dim=16)), tiny.catalog("id")
    else:
        model, catalog = tiny.model(family, pooling=pooling), tiny.catalog(tiny.MODALITY[family])
        for name, method in {
            "a": "houlsby",
            "b": "prefix",
            "c": "prompt",
        }.items():  # the base is saved, adapters have files of their own
            model.add_adapter(name, AdapterConfig(method=method, item_size=4, user_size=4))
        model.disable_adapters()
    tiny.stir(model)
    model.save_pretrained(tmp_path, {"data": "tiny", "seed": 0})
    again = TransRec.from_pretrained(tmp_path)
    assert again.spec == model.spec and not again.adapters
    assert torch.equal(again.catalogue(catalog), model.catalogue(catalog))
    items = torch.randn(2, 5, 16)
    assert torch.equal(again.eval().encode_users(items), model.eval().encode_users(items))
    assert "- seed: 0" in (tmp_path / "README.md").read_text()


def test_damaged_model_folders_are_named(tmp_path):
    with pytest.raises(UserError, match="config.json: not found"):
        TransRec.from_pretrained(tmp_path)
    tiny.model().save_pretrained(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match="damaged model"):
        TransRec.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(weights)
    config = json.loads((tmp_path / "config.json").read_text())
    config["spec"]["blocks"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="damaged model"):
        TransRec.from_pretrained(tmp_path)


def test_bf16_trains_and_stays_close_to_fp32():
    domain = tiny.domain("text")
    losses = {}
    for precision in ("fp32", "bf16"):
        spec = TrainSpec(
            steps=10,
            min_steps=0,
            eval_every=10,
            batch_size=60,
            precision=precision,
            lr=StepSizes(encoder=1e-3),
        )
        losses[precision] = fit(tiny.model(), domain, spec, 0, show_progress=False).history[-1]["loss"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.03) and losses["bf16"] != losses["fp32"]
