"""PEFT reads what is written here, and the other way round; outputs are equal. PEFT is the independent
implementation.
"""

from __future__ import annotations

import json

import pytest
import torch

from tests import tiny
from tests.adapters.helpers import families
from transrec_core.adapters import AdapterConfig
from transrec_core.adapters.anatomy import ANATOMY, target_pattern
from transrec_core.adapters.peft_format import export_peft, import_peft
from transrec_core.base.errors import UserError

peft = pytest.importorskip("peft")

METHODS = ["lora", "rslora", "dora", "ia3"]
FAMILIES = families("bert")
#: What PEFT's users write for these encoders: names of the query and value projections.
NAMES = {
    family: [path.rpartition(".")[2] for path in (ANATOMY[family].query, ANATOMY[family].value)]
    for family in tiny.BACKBONES
}


def states(backbone, family: str) -> torch.Tensor:
    with torch.no_grad():
        return backbone.eval()(
            **tiny.catalog(tiny.MODALITY[family]).batch(torch.arange(1, 9))
        ).last_hidden_state


def peft_model(family: str, method: str):
    if method == "ia3":
        # BERT's "output.dense" would also match the attention's; a pattern tells them apart.
        config = peft.IA3Config(
            target_modules=target_pattern(family, "key", "value", "ffn"),
            feedforward_modules=target_pattern(family, "ffn"),
            task_type="FEATURE_EXTRACTION",
        )
    else:
        config = peft.LoraConfig(
            r=3,
            lora_alpha=6,
            target_modules=NAMES[family],
            use_dora=method == "dora",
            use_rslora=method == "rslora",
            task_type="FEATURE_EXTRACTION",
        )
    model = peft.get_peft_model(tiny.model(family).item_encoder.backbone, config)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in ("lora_", "ia3_l")):
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


@FAMILIES
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layers", ["all", [1]])
def test_peft_loads_what_was_exported_and_gives_equal_outputs(method, family, layers, tmp_path):
    model = tiny.model(family)
    model.add_adapter("a", AdapterConfig(method=method, item_size=3, user_size=3, layers=layers))
    tiny.stir(model.adapters)
    ours = states(model.item_encoder.backbone, family)
    export_peft(model, "a", tmp_path)
    theirs = peft.PeftModel.from_pretrained(tiny.model(family).item_encoder.backbone, tmp_path)
    assert (states(theirs, family) - ours).abs().max() <= 1e-6
    assert not torch.allclose(ours, states(tiny.model(family).item_encoder.backbone, family))


@FAMILIES
@pytest.mark.parametrize("method", METHODS)
def test_what_peft_saved_is_imported_with_equal_outputs(method, family, tmp_path):
    theirs = peft_model(family, method)
    theirs.save_pretrained(tmp_path)
    model = tiny.model(family)
    config = import_peft(model, tmp_path, "a")
    assert config.method == method and config.encoders == "item"
    assert (states(theirs, family) - states(model.item_encoder.backbone, family)).abs().max() <= 1e-6
    export_peft(model, "a", tmp_path / "again")  # and back, bit for bit
    from safetensors.torch import load_file

    first, second = (
        load_file(folder / "adapter_model.safetensors") for folder in (tmp_path, tmp_path / "again")
    )
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_what_has_no_counterpart_is_refused_and_the_model_kept(tmp_path):
    model = tiny.model("bert")
    model.add_adapter("h", AdapterConfig(item_size=3, user_size=3))
    with pytest.raises(UserError, match="PEFT has no form for 'houlsby'"):
        export_peft(model, "h", tmp_path)
    with pytest.raises(UserError, match="not found"):
        import_peft(model, tmp_path, "a")
    peft_model("bert", "lora").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    for change, message in (
        ({"peft_type": "ADALORA"}, "ADALORA"),
        ({"bias": "all"}, "bias=all"),
        ({"rank_pattern": {"query": 2}}, "rank_pattern"),
        ({"r": 5}, "does not fit"),
    ):
        (tmp_path / "adapter_config.json").write_text(json.dumps(config | change))
        with pytest.raises(UserError, match=message):
            import_peft(model, tmp_path, "a")
    assert set(model.adapters) == {"h"} and model.active_adapters == ("h",)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="another model"):
        import_peft(tiny.model("vit"), tmp_path, "a")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(UserError, match="damaged"):
        import_peft(model, tmp_path, "a")
