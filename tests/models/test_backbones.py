"""Backbones of every family: read whole or refused, cut from the bottom, saved and built again."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForMaskedLM

from tests import tiny
from transrec_core.base.errors import UserError
from transrec_core.models import ModelSpec, TransRec, fresh_backbone, load_backbone

FAMILIES = tiny.STRANGERS | tiny.BACKBONES
EVERYWHERE = pytest.mark.parametrize("family", FAMILIES)


def encoder(family: str, **fields) -> torch.nn.Module:
    """With weights that are nowhere special, so that none can be left out unseen."""
    backbone = fresh_backbone(FAMILIES[family] | fields, 0)
    tiny.stir(backbone, std=0.1)
    return backbone.eval()


def states(backbone: torch.nn.Module, family: str, **options):
    content = tiny.catalog(tiny.MODALITY[family]).batch(torch.arange(1, 5))
    with torch.no_grad():
        return backbone.eval()(**content, **options)


@EVERYWHERE
def test_backbones_are_loaded_from_their_own_folders_and_cut_from_the_bottom(family, tmp_path):
    backbone = encoder(family)
    backbone.save_pretrained(tmp_path)
    whole = states(backbone, family, output_hidden_states=True)
    assert torch.equal(
        states(load_backbone(str(tmp_path)), family).last_hidden_state, whole.last_hidden_state
    )
    cut = load_backbone(str(tmp_path), layers=1)
    assert cut.config.num_hidden_layers == 1
    first = states(cut, family).last_hidden_state
    norm = getattr(backbone, "layernorm", getattr(backbone, "final_norm", None))  # the cut one has it, too
    with torch.no_grad():
        expected = whole.hidden_states[1] if norm is None else norm(whole.hidden_states[1])
    assert torch.allclose(first, expected, atol=1e-6)
    with pytest.raises(UserError, match="encoder_layers=3"):
        load_backbone(str(tmp_path), layers=3)


@EVERYWHERE
def test_a_cut_backbone_is_saved_read_and_built_again(family, tmp_path):
    """Also by its configuration alone, which the untrained control and a saved TransRec go by."""
    fields = {"n_layers" if family == "distilbert" else "num_hidden_layers": 3}
    encoder(family, **fields).save_pretrained(tmp_path / "whole")
    cut = load_backbone(str(tmp_path / "whole"), layers=2)
    outputs = states(cut, family).last_hidden_state
    cut.save_pretrained(tmp_path / "cut")
    again = load_backbone(str(tmp_path / "cut"))
    assert torch.equal(states(again, family).last_hidden_state, outputs)
    fresh = fresh_backbone(cut.config.to_diff_dict(), seed=1)
    assert not torch.allclose(states(fresh, family).last_hidden_state, outputs)
    fresh.load_state_dict(cut.state_dict())
    assert torch.equal(states(fresh, family).last_hidden_state, outputs)
    assert len(cut.state_dict()) == len(fresh_backbone(FAMILIES[family]).state_dict())  # those of two layers
    model = TransRec.from_backbone(cut, ModelSpec(dim=16, encoder_layers=2), 0)
    model.save_pretrained(tmp_path / "model")
    catalog = tiny.catalog(tiny.MODALITY[family])
    assert torch.equal(
        TransRec.from_pretrained(tmp_path / "model").catalogue(catalog), model.catalogue(catalog)
    )


def test_what_is_built_at_random_is_cut_as_well():
    backbone = fresh_backbone(tiny.BACKBONES["beit"], 0, layers=1)
    assert len(backbone.layers) == backbone.config.num_hidden_layers == 1
    assert backbone.config.out_features == ["stage1"]
    with pytest.raises(UserError, match="encoder_layers=0: the encoder has 2 layers"):
        fresh_backbone(tiny.BACKBONES["vit"], 0, layers=0)
    pyramid = tiny.BACKBONES["beit"] | {"num_hidden_layers": 4, "add_fpn": True, "out_indices": [1, 2, 3, 4]}
    with pytest.raises(UserError, match="encoder_layers=2: can't cut a 'beit' .*exactly 4"):
        fresh_backbone(pyramid, 0, layers=2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "berd"}, "can't build a 'berd' encoder: Unrecognized"),
        ({"model_type": "bert", "hidden_size": "wide"}, "can't build a 'bert' encoder: .*'hidden_size'"),
    ],
)
def test_configurations_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(UserError, match=message) as refused:
        fresh_backbone(fields)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("family", tiny.BACKBONES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_was_saved_in_half_precision_is_read_in_single(family, dtype, tmp_path):
    backbone = encoder(family).to(dtype)
    backbone.save_pretrained(tmp_path)
    for again in (
        load_backbone(str(tmp_path)),
        fresh_backbone(AutoConfig.from_pretrained(tmp_path).to_diff_dict()),
    ):
        assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}
    loaded = load_backbone(str(tmp_path)).state_dict()
    assert all(torch.equal(loaded[name], value.float()) for name, value in backbone.state_dict().items())


@EVERYWHERE
@pytest.mark.parametrize("prefix", ["module.", "0.auto_model.", "module._orig_mod."])
def test_names_of_wrappers_are_stripped(family, prefix, tmp_path):
    backbone = encoder(family)
    backbone.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({prefix + name: value for name, value in load_file(file).items()}, file, {"format": "pt"})
    loaded = load_backbone(str(tmp_path)).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in backbone.state_dict().items())


@EVERYWHERE
def test_nothing_that_is_missing_becomes_random(family, tmp_path):
    encoder(family).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    for kept in (
        {name: value for name, value in tensors.items() if ".1." not in name},  # half of the layers
        {f"tower.{name}": value for name, value in tensors.items()},
    ):
        save_file(kept, file, {"format": "pt"})
        with pytest.raises(UserError, match=r"\d+ of its \d+ tensors are not in the weights \(\w+\."):
            load_backbone(str(tmp_path))
    save_file({k: v for k, v in tensors.items() if ".1." not in k}, file, {"format": "pt"})
    load_backbone(str(tmp_path), layers=1)  # needs no more than that


def test_heads_of_pretraining_are_left_over_and_a_pooler_may_be_missing(tmp_path):
    config = AutoConfig.for_model(**tiny.BACKBONES["bert"])
    pretrained = AutoModelForMaskedLM.from_config(config)
    pretrained.save_pretrained(tmp_path)  # "bert.encoder. ...", "cls.predictions. ..."
    loaded = load_backbone(str(tmp_path)).state_dict()
    expected = pretrained.bert.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda weights: weights[:100], "header"),
        (lambda weights: weights[:-7], "incomplete"),
        (lambda weights: b"", "header too small"),
    ],
)
def test_damaged_weights_are_told_in_one_line(damage, message, tmp_path):
    encoder("bert").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=f"can't load an encoder from folder .*{message}") as refused:
        load_backbone(str(tmp_path))
    assert "\n" not in str(refused.value)


def test_what_does_not_fit_its_configuration_or_is_no_encoder_is_refused(tmp_path):
    encoder("bert").save_pretrained(tmp_path)
    AutoConfig.for_model(**tiny.BACKBONES["bert"] | {"vocab_size": 60}).save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match=r"word_embeddings.weight' is \[50, 16\] in .* \[60, 16\] by config.json"
    ):
        load_backbone(str(tmp_path))
    for family in ("clip", "t5", "swin"):
        AutoConfig.for_model(family).save_pretrained(tmp_path)
        with pytest.raises(UserError, match=f"a '{family}' is not one stack of layers"):
            load_backbone(str(tmp_path))
    with pytest.raises(UserError, match="hub name 'no-such-encoder'"):
        load_backbone("no-such-encoder")
