"""What ``add_adapter`` takes, what it refuses and how, and what ``adapter_status`` tells."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import tiny
from tests.adapters.helpers import scores, with_adapter
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.adapters.build import as_config
from transrec_core.adapters.methods.lora import LoRAConfig
from transrec_core.base.errors import UserError


@pytest.mark.parametrize(
    "config",
    [
        AdapterConfig(method="lora", item_size=8, user_size=8),
        LoRAConfig(rank=8),
        {"method": "lora", "r": 8},
        AdapterConfig.model_construct(method="lora", item_size=8, user_size=8),
    ],
)
def test_a_configuration_is_an_object_or_its_fields(config):
    model = tiny.model("bert")
    model.add_adapter("a", config)
    assert model.adapter_configs["a"] == LoRAConfig(rank=8)
    assert type(model.adapter_configs["a"]) is LoRAConfig


@pytest.mark.parametrize("method", METHODS)
def test_the_name_of_a_method_is_its_configuration_by_default(method):
    assert as_config(method) == AdapterConfig(method=method)


def test_a_method_is_added_by_its_name():
    model = tiny.model("bert")
    model.add_adapter("a", "houlsby")
    assert model.adapter_configs["a"] == AdapterConfig(method="houlsby")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("houlsbi", "did you mean 'houlsby'"),
        ({"method": "lora", "rankk": 3}, "unknown key 'rankk' in LoRAConfig"),
        ({"item_size": 0}, "item_size: .*greater than or equal to 1"),
        (None, "not NoneType"),
        (8, r"AdapterConfig\(method='lora', rank=8\).*not int"),
        (LoRAConfig, "not "),
    ],
)
def test_what_is_no_configuration_is_one_line(config, message):
    model = tiny.model("bert")
    with pytest.raises(UserError, match=message) as caught:
        model.add_adapter("a", config)
    assert "\n" not in str(caught.value) and not model.adapters


def test_a_configuration_of_peft_is_sent_to_the_way_out():
    peft = pytest.importorskip("peft")
    with pytest.raises(UserError, match="a LoraConfig is PEFT's: .*rank=8.* import_peft") as caught:
        tiny.model("bert").add_adapter("a", peft.LoraConfig(r=8))
    assert "\n" not in str(caught.value)


WORDS = sorted({*dir(nn.ModuleDict()), *vars(nn.ModuleDict())})


@pytest.mark.parametrize("name", ["items", "keys", "type", "training", "forward", "_modules"])
def test_words_of_pytorch_are_no_names(name):
    model = with_adapter("bert", "houlsby")
    before = scores(model, "bert")
    with pytest.raises(
        UserError, match=f"'{name}' is a word of PyTorch's own; choose another, e.g. '{name}_1'"
    ):
        model.add_adapter(name, "houlsby")
    model.add_adapter(f"{name}_1", "houlsby")
    model.set_adapter("a")
    assert torch.equal(scores(model, "bert"), before)


def test_every_name_works_or_is_refused_in_one_line():
    model = tiny.model("bert")
    for name in [*WORDS, "", "a.b", "a/b", "a b", 3, None, "größe", "1", "lora"]:
        try:
            model.add_adapter(name, {"method": "bitfit", "layers": [0]})
        except UserError as error:
            assert "\n" not in str(error)
        else:
            model.set_adapter(name)
    assert set(model.adapters) == {"größe", "1", "lora"}
    with pytest.raises(UserError, match="there is an adapter 'lora' already"):
        model.add_adapter("lora", "houlsby")


def test_train_freezes_the_rest_and_says_so_in_one_line(capsys):
    model = tiny.model("bert")
    model.add_adapter("games", AdapterConfig(method="houlsby", item_size=8, user_size=4))
    assert capsys.readouterr().out == ""
    assert all(p.requires_grad for p in model.user_encoder.parameters())
    model.add_adapter("films", AdapterConfig(method="houlsby", item_size=8, user_size=4), train=True)
    trained, total = model.trainable_parameters()
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        n for n, _ in model.named_parameters() if n.startswith("adapters.films.")
    }
    share = 100 * trained / total
    assert capsys.readouterr().out == (
        f"adapter 'films': {trained:,} of {total:,} parameters train ({share:.2f} %), the rest is frozen\n"
    )


def test_the_status_tells_what_each_adapter_is_and_does():
    model = tiny.model("bert")
    assert repr(model.adapter_status()) == "no adapters" and not model.adapter_status()
    model.add_adapter("games", AdapterConfig(method="lora", rank=4))
    model.add_adapter("films", AdapterConfig(method="houlsby", encoders="item", layers=[0], train_head=False))
    model.add_adapter("books", AdapterConfig(method="compacter", rank=4, train_head=False))
    model.train_adapter("games")
    games, films, books = model.adapter_status()
    assert (games.name, games.method, games.active, games.merged, games.trained) == (
        "games",
        "lora",
        True,
        False,
        True,
    )
    assert games.sites == {"item": 5, "user": 4} and films.sites == {
        "item": 2
    }  # the head is the item encoder's
    assert books.sites == {"item": 4, "user": 4}  # the rule that they share is no site
    assert not films.active and not films.trained
    assert games.parameters == sum(p.numel() for p in model.adapters["games"].parameters())
    assert (games.device, games.dtype) == ("cpu", "float32")
    model.merge_adapter("games")
    (games, *_) = model.adapter_status()
    assert games.merged and not games.active
    lines = repr(model.adapter_status()).splitlines()
    assert lines[0].split() == "name method active merged trained parameters device dtype sites".split()
    assert lines[1].split()[:5] == ["games", "lora", "no", "yes", "yes"] and lines[2].endswith("item 2")
    assert len(lines) == 4 and lines[1].index("cpu") == lines[3].index("cpu")
