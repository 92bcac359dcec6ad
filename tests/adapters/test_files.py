"""Adapter folders: what is written, what is read, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import tiny
from tests.adapters.helpers import scores, with_adapter
from transrec_core.adapters import AdapterConfig
from transrec_core.adapters.files import (
    CONFIG_FILE,
    OLD_CONFIG_FILE,
    OLD_WEIGHTS_FILE,
    WEIGHTS_FILE,
    base_hash,
)
from transrec_core.adapters.peft_format import export_peft
from transrec_core.base.errors import UserError


def test_damaged_adapter_folders_are_refused_and_the_model_kept(tmp_path):
    model = with_adapter("bert", "houlsby")
    before = scores(model, "bert")
    with pytest.raises(UserError, match="not found"):
        model.load_adapter(tmp_path, "b")
    model.save_adapter(tmp_path, "a")
    weights = (tmp_path / WEIGHTS_FILE).read_bytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(weights[:-7])
    with pytest.raises(UserError, match="damaged"):
        model.load_adapter(tmp_path, "b")
    (tmp_path / WEIGHTS_FILE).write_bytes(weights)
    fields = json.loads((tmp_path / CONFIG_FILE).read_text())
    fields["config"] |= {"item_size": 6}
    (tmp_path / CONFIG_FILE).write_text(json.dumps(fields))
    with pytest.raises(UserError, match="does not fit"):
        model.load_adapter(tmp_path, "b")
    assert torch.equal(scores(model, "bert"), before) and set(model.adapters) == {"a"}


def test_a_folder_says_what_it_is_and_peft_does_not_take_it_for_its_own(tmp_path):
    model = with_adapter("bert", "lora")
    model.save_adapter(tmp_path, "a")
    assert {file.name for file in tmp_path.iterdir()} == {CONFIG_FILE, WEIGHTS_FILE, "README.md"}
    fields = json.loads((tmp_path / CONFIG_FILE).read_text())
    assert (fields["format"], fields["version"]) == ("transrec-adapter", 1)
    assert fields["base"] == tiny.model("bert").base_hash() and fields["config"]["method"] == "lora"
    card = (tmp_path / "README.md").read_text()
    assert "A *lora* adapter" in card and fields["base"][:12] in card
    peft = pytest.importorskip("peft")
    with pytest.raises(ValueError, match="Can't find 'adapter_config.json'"):
        peft.PeftConfig.from_pretrained(str(tmp_path))


def older(folder, model, name: str) -> None:
    """A folder as libraries before 0.2 wrote it: PEFT's file names, all fields of all methods, no base."""
    model.save_adapter(folder, name)
    config = model.adapter_configs[name].hashed()
    (folder / OLD_CONFIG_FILE).write_text(json.dumps(config))
    (folder / WEIGHTS_FILE).rename(folder / OLD_WEIGHTS_FILE)
    (folder / CONFIG_FILE).unlink()


@pytest.mark.parametrize("method", ["houlsby", "dora", "compacter", "side"])
def test_folders_of_before_are_read(method, tmp_path):
    model = with_adapter("bert", method)
    older(tmp_path, model, "a")
    assert "scale" in json.loads((tmp_path / OLD_CONFIG_FILE).read_text())
    again = tiny.model("bert")
    again.load_adapter(tmp_path, "a")
    assert torch.equal(scores(again, "bert"), scores(model, "bert"))
    assert again.adapter_configs == model.adapter_configs


def test_an_adapter_knows_its_base(tmp_path):
    model = with_adapter("bert", "houlsby")
    model.save_adapter(tmp_path, "a")
    other = tiny.model("bert", seed=1)  # the same shape, other weights
    here, there = model.base_hash(), other.base_hash()
    with pytest.raises(
        UserError, match=rf"trained on base {here[:8]}, the model's is {there[:8]}; .*check_base=False"
    ):
        other.load_adapter(tmp_path, "a")
    assert not other.adapters and not other.active_adapters
    other.load_adapter(tmp_path, "a", check_base=False)
    assert other.active_adapters == ("a",)


@pytest.mark.parametrize("part", ["item_encoder.backbone", "item_encoder.projection", "user_encoder"])
def test_every_part_of_the_base_counts_and_adapters_do_not(part):
    model = tiny.model("bert")
    before = model.base_hash()
    model.add_adapter("a", "houlsby")
    tiny.stir(model.adapters)
    assert model.base_hash() == before
    with torch.no_grad():
        next(iter(model.get_submodule(part).parameters())).view(-1)[0] += 0.1
    assert model.base_hash() != before


def test_a_base_in_bfloat16_is_the_same_base_and_names_of_modules_do_not_count():
    model = tiny.model("bert")
    tensors = list(model.state_dict().values())
    assert base_hash(reversed(tensors)) == model.base_hash() == model.to(torch.bfloat16).base_hash()
    first, second = torch.randn(3, 4), torch.tensor([1, 2])
    assert base_hash([first.T.contiguous(), second]) != base_hash([first, second])
    assert base_hash([first, second, second]) != base_hash([first, second])
    assert base_hash([torch.zeros(()), torch.empty(0, 3), torch.tensor(True)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2, "library": "9.0"}, "version 2 of the format, .*up to 1; transrec 9.0 wrote it"),
        ({"sparsity": 0.5}, "unknown key 'sparsity' .*known: format, version"),
        ({"format": "lora-adapter"}, "format is 'lora-adapter', not 'transrec-adapter'"),
        ({"config": {"method": "lora", "d_init": 1, "item_size": 8}}, "unknown key 'd_init' in LoRAConfig"),
        ({"config": {"method": "nonesuch"}}, "unknown adapter method 'nonesuch'"),
        ({"config": None}, "transrec_adapter.json: "),
    ],
)
def test_what_this_version_cannot_read_is_named(changes, message, tmp_path):
    model = with_adapter("bert", "lora")
    model.save_adapter(tmp_path, "a")
    fields = json.loads((tmp_path / CONFIG_FILE).read_text()) | changes
    (tmp_path / CONFIG_FILE).write_text(json.dumps(fields))
    with pytest.raises(UserError, match=message) as caught:
        model.load_adapter(tmp_path, "b")
    assert "\n" not in str(caught.value) and set(model.adapters) == {"a"}


def test_a_peft_folder_is_sent_to_import_peft(tmp_path):
    model = with_adapter("bert", "lora")
    export_peft(model, "a", tmp_path)
    with pytest.raises(UserError, match="saved by PEFT; read it with import_peft"):
        model.load_adapter(tmp_path, "b")


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", "\x00"])
def test_a_damaged_configuration_is_one_line(content, tmp_path):
    model = with_adapter("bert", "houlsby")
    model.save_adapter(tmp_path, "a")
    (tmp_path / CONFIG_FILE).write_text(content)
    with pytest.raises(UserError, match="damaged adapter") as caught:
        model.load_adapter(tmp_path, "b")
    assert "\n" not in str(caught.value)


def test_weights_that_are_missing_or_too_many_are_refused_and_the_model_kept(tmp_path):
    model = with_adapter("bert", "houlsby")
    model.save_adapter(tmp_path, "a")
    tensors = load_file(tmp_path / WEIGHTS_FILE)
    key = sorted(tensors)[0]
    for wrong, name in (
        ({k: v for k, v in tensors.items() if k != key}, key),
        (tensors | {"item_encoder.nothing.down": torch.zeros(2)}, "item_encoder.nothing.down"),
    ):
        save_file(wrong, tmp_path / WEIGHTS_FILE)
        with pytest.raises(UserError, match=f"does not fit this model at '{name}'"):
            model.load_adapter(tmp_path, "b")
    (tmp_path / WEIGHTS_FILE).unlink()
    with pytest.raises(UserError, match="transrec_adapter.safetensors: not found"):
        model.load_adapter(tmp_path, "b")
    assert set(model.adapters) == {"a"} and model.active_adapters == ("a",)


@pytest.mark.parametrize("training", [True, False])
def test_what_is_loaded_or_added_takes_the_models_mode(training, tmp_path):
    model = tiny.model("bert")
    model.add_adapter("a", AdapterConfig(method="houlsby", dropout=0.5))
    tiny.stir(model.adapters)
    model.save_adapter(tmp_path, "a")
    other = tiny.model("bert").train(training)
    other.load_adapter(tmp_path, "a")
    other.add_adapter("b", AdapterConfig(method="pfeiffer", dropout=0.5))
    assert all(module.training == training for module in other.adapters.modules())
    other.set_adapter("a")
    features = tiny.catalog("text").batch(torch.arange(1, 5))
    with torch.no_grad():
        first, second = other.encode_items(features), other.encode_items(features)
    assert torch.equal(first, second) == (not training)
