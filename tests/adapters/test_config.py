"""An adapter's configuration: its method's class, other libraries' names, what older records hold."""

from __future__ import annotations

import pickle
from typing import Literal

import pytest
from pydantic import ValidationError

from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.adapters.config import FLAT
from transrec_core.adapters.methods.lora import LoRAConfig
from transrec_core.base.config import first_problem


@pytest.mark.parametrize("method", METHODS)
def test_a_configuration_is_of_its_methods_class_however_it_is_made(method):
    made = AdapterConfig(method=method)
    assert type(made) is METHODS[method].Config and made == METHODS[method].Config()
    assert AdapterConfig.model_validate({"method": method}) == made
    assert AdapterConfig.model_validate_json(made.model_dump_json()) == made
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize("name", ["r", "rank", "bottleneck_size", "num_virtual_tokens"])
def test_one_size_stands_for_both(name):
    config = AdapterConfig(method="lora", **{name: 8})
    assert (config.item_size, config.user_size) == (8, 8)
    assert AdapterConfig(method="lora", **{name: 8}, user_size=2).user_size == 2


def test_names_of_peft_are_understood():
    config = AdapterConfig(method="lora", r=4, lora_alpha=16, lora_dropout=0.1, target_modules=["query"])
    assert config == LoRAConfig(item_size=4, user_size=4, alpha=16, dropout=0.1, targets=("query",))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "houlsbi"}, "method: unknown adapter method 'houlsbi'; did you mean 'houlsby'?"),
        ({"method": "lora", "alpa": 3}, "unknown key 'alpa' in LoRAConfig; did you mean 'alpha'?"),
        (
            {"method": "lora", "rank": 8, "item_size": 4},
            "'rank' stands for item_size, which is given as well",
        ),
        ({"method": "houlsby", "targets": ["key"]}, "houlsby has no 'targets': leave it out"),
        ({"method": "ia3", "alpha": 3}, "ia3 has no 'alpha': leave it out"),
        ({"method": "lora", "item_size": 0}, "item_size: should be greater than or equal to 1"),
        (
            {"method": "lora", "quite_other": 1},
            "unknown key 'quite_other' in LoRAConfig; there are: method, encoders",
        ),
    ],
)
def test_a_mistake_is_told_in_a_line(fields, message):
    with pytest.raises(ValidationError) as error:
        AdapterConfig(**fields)
    told = first_problem(error.value)
    assert told.startswith(message) and "\n" not in told


def test_a_configuration_of_another_method_is_refused():
    with pytest.raises(ValidationError, match="LoRAConfig is not a configuration of 'houlsby'"):
        LoRAConfig(method="houlsby")


@pytest.mark.parametrize("method", METHODS)
def test_the_flat_form_of_older_records_is_read_and_hashed_as_it_was(method):
    """Before 0.2 every record held every field, whether its method had it or not."""
    config = AdapterConfig(method=method)
    flat = FLAT | config.model_dump(mode="json")
    assert AdapterConfig.model_validate(flat) == config
    assert config.hashed() == {key: value for key, value in flat.items() if key in FLAT}


def test_a_field_that_comes_later_renames_no_record():
    class LaterConfig(LoRAConfig):
        """LoRA's settings with one more."""

        method: Literal["lora"] = "lora"
        warmth: float = 0.5

    now, later = (
        LoRAConfig(alpha=3),
        LaterConfig.model_construct(**LoRAConfig(alpha=3).model_dump(), warmth=0.5),
    )
    assert "warmth" in later.model_dump() and later.hashed() == now.hashed()
    assert later.model_copy(update={"warmth": 0.7}).hashed() != now.hashed()
