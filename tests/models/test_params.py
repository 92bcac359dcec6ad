"""Counts without weights equal what attaching really adds, and the six numbers that the released code's
modules have.
"""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests import tiny
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.base.errors import UserError
from transrec_core.cli.main import app
from transrec_core.models import ModelSpec
from transrec_core.models.params import ENCODERS, count, encoder_fields, table


def cli(*arguments: str):
    result = CliRunner().invoke(app, ["params", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def every_method() -> str:
    return cli("--all")


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        (["--method", "houlsby"], 2_387_776),
        (["--method", "pfeiffer", "--position", "attention"], 1_193_888),
        (["--method", "k_adapter"], 3_573_920),
        (["--method", "lora"], 2_367_488),
        (["--method", "compacter"], 60_928),
        (["--method", "prompt"], 23_040),
    ],
)
def test_the_six_counts_of_the_released_code(arguments, added, every_method):
    assert json.loads(cli("--json", *arguments))["added"] == added
    assert f"{added:,}" in cli(*arguments)
    assert f"{added:,}" in every_method
    assert "109,632,320" in every_method


@pytest.mark.slow
@pytest.mark.parametrize("family", tiny.BACKBONES)
@pytest.mark.parametrize("method", METHODS)
def test_counts_and_file_sizes_are_those_of_the_real_thing(method, family, tmp_path):
    model = tiny.model(family)
    base = sum(p.numel() for p in model.parameters())
    config = AdapterConfig(method=method, item_size=8, user_size=4, train_layernorm=True)
    model.add_adapter("a", config)
    model.train_adapter("a")
    model.save_adapter(tmp_path / "adapter", "a")
    (tmp_path / "config.json").write_text(json.dumps(tiny.BACKBONES[family]))
    row = count(str(tmp_path), config, ModelSpec(dim=16, max_len=10))
    trained, total = model.trainable_parameters()
    assert (row["base"], row["trained"], row["total"]) == (base, trained, total)
    assert row["added"] == trained - row["head"] == row["item"] + row["user"] + row["shared"]
    assert row["bytes"] == (tmp_path / "adapter" / "transrec_adapter.safetensors").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_shipped_shape_takes_every_method_it_can(encoder):
    rows = table(encoder)
    assert {row["method"] for row in rows} == set(METHODS) - (
        {"prompt"} if encoder.startswith("beit") else set()
    )


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(UserError, match="no name known here"):
        encoder_fields("bert-bse")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="not readable"):
        encoder_fields(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="no 'model_type'"):
        encoder_fields(str(tmp_path))
    for arguments, message in (
        (["--method", "lora", "--position", "ffn"], "lora has no 'position'"),
        (["--item-size", "0"], "item_size"),
        (["--all", "--dim", "63"], "not a multiple"),
        (["--method", "compacter", "--item-size", "7"], "phm_dim"),
    ):
        result = CliRunner().invoke(app, ["params", *arguments])
        assert isinstance(result.exception, UserError) and message in str(result.exception)
