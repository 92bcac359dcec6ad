"""Model folders: what they remember, what older ones lack, and what is no model folder."""

from __future__ import annotations

import json
import shutil

import pytest

from tests import shop, tiny
from transrec_core.adapters import AdapterConfig
from transrec_core.base.errors import UserError
from transrec_core.data.domain import Domain
from transrec_core.data.reading import PictureReader
from transrec_core.models import IdEncoder, ModelSpec, TransRec
from transrec_core.models.files import SHIPPED, save_items
from transrec_core.training.trainer import fit

BASE_FILES = {"README.md", "config.json", "model.safetensors"}


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def model_of(modality: str) -> TransRec:
    model = (
        TransRec(IdEncoder(tiny.ITEMS, 16), ModelSpec(dim=16, max_len=10))
        if modality == "id"
        else tiny.model("vit" if modality == "image" else "bert")
    )
    tiny.stir(model)
    domain = tiny.domain(modality)
    domain.item_ids = ["", *(f"Ä {n}" if n % 2 else n for n in range(1, tiny.ITEMS + 1))]
    model.remember(domain)
    return model


@pytest.mark.parametrize("modality", ["text", "image", "id"])
def test_a_saved_model_knows_its_items(modality, tmp_path):
    model = model_of(modality)
    best = model.recommend([["Ä 1", 4], ["Ä 7"]], 8)
    model.save_pretrained(tmp_path)
    assert names(tmp_path) == {*BASE_FILES, "items.safetensors"}
    again = TransRec.from_pretrained(tmp_path)
    assert again.recommend([["Ä 1", 4], ["Ä 7"]], 8) == best
    assert again.known.catalog.fingerprint() == model.known.catalog.fingerprint()
    if modality != "id":
        model.add_adapter("a", AdapterConfig(method="houlsby", item_size=4, user_size=4))
        tiny.stir(model.adapters)
        model.save_adapter(tmp_path / "a", "a")
        again.load_adapter(tmp_path / "a", "a")
        adapted = again.recommend(["Ä 1", 4], 8)
        assert adapted == model.recommend(["Ä 1", 4], 8) and adapted != best[0]


def test_how_titles_are_read_is_saved_with_the_model(tmp_path):
    encoder = shop.save_encoder(tmp_path / "bert")
    domain = Domain.from_frame(*shop.frames(40, 60), encoder, max_tokens=5, cache=False)
    model = TransRec.from_encoder(encoder, dim=16)
    model.remember(domain)
    model.save_pretrained(tmp_path / "model")
    shutil.rmtree(tmp_path / "bert")
    again = TransRec.from_pretrained(tmp_path / "model")
    titles = ["kind3 word1 word2 word3 word4", "word1"]
    assert (again.encode(titles) == model.encode(titles)).all()
    assert again.reader.max_tokens == 5 and again.known.catalog.titles == domain.catalog.titles


def test_how_pictures_are_read_is_saved_with_the_model(tmp_path):
    model = model_of("image")
    model.reader = PictureReader(16)
    model.save_pretrained(tmp_path)
    assert TransRec.from_pretrained(tmp_path).reader == PictureReader(16)


def test_from_encoder_knows_how_its_encoder_reads(tmp_path):
    assert TransRec.from_encoder(shop.save_encoder(tmp_path / "bert"), dim=16).reader.max_tokens == 30
    tiny.model("vit").item_encoder.backbone.save_pretrained(tmp_path / "vit")
    assert TransRec.from_encoder(str(tmp_path / "vit"), dim=16).reader == PictureReader(16)
    tiny.model("bert").item_encoder.backbone.save_pretrained(tmp_path / "mute")
    assert TransRec.from_encoder(str(tmp_path / "mute"), dim=16).reader is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"dims": 3}, "did you mean 'dim'"), ({"dim": 0}, "from_encoder: dim"), ({"dim": 5}, "multiple of")],
)
def test_from_encoder_tells_wrong_fields(fields, message, tmp_path):
    with pytest.raises(UserError, match=message) as error:
        TransRec.from_encoder(shop.save_encoder(tmp_path), **fields)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("folder", sorted(SHIPPED.iterdir()), ids=lambda folder: folder.name)
def test_shipped_models_are_read_and_written_as_they_are(folder, tmp_path):
    model = TransRec.from_pretrained(folder)
    assert model.known is None and model.reader is None
    config = json.loads((folder / "config.json").read_text())
    model.save_pretrained(tmp_path, config["provenance"])
    assert names(tmp_path) == BASE_FILES
    assert (tmp_path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert (tmp_path / "README.md").read_bytes() == (folder / "README.md").read_bytes()


def test_items_are_left_out_if_told_and_old_ones_go(tmp_path):
    model = model_of("text")
    model.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path, with_items=False)
    assert names(tmp_path) == BASE_FILES
    assert TransRec.from_pretrained(tmp_path).known is None


def test_what_is_no_model_folder_is_told(tmp_path):
    encoder = shop.save_encoder(tmp_path / "bert")
    with pytest.raises(UserError) as error:
        TransRec.from_pretrained(encoder)
    message = f"{encoder}: an encoder (bert), not a TransRec; TransRec.from_encoder('{encoder}') builds one"
    assert str(error.value) == f"{message} around it"
    model = model_of("text")
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("[]")
    with pytest.raises(UserError, match="damaged model"):
        TransRec.from_pretrained(tmp_path / "model")


def test_damaged_items_are_told(tmp_path):
    model_of("text").save_pretrained(tmp_path)
    content = (tmp_path / "items.safetensors").read_bytes()
    (tmp_path / "items.safetensors").write_bytes(content[:-9])
    with pytest.raises(UserError, match=r"items\.safetensors: damaged"):
        TransRec.from_pretrained(tmp_path)
    (tmp_path / "items.safetensors").write_bytes(content)
    (tmp_path / "reading.json").write_text("{}")
    with pytest.raises(UserError, match=r"reading\.json: damaged"):
        TransRec.from_pretrained(tmp_path)


def test_a_small_folder_names_its_base(tmp_path):
    model = model_of("text")
    model.save_pretrained(tmp_path / "base", with_items=False)
    save_items(tmp_path / "items", model.known, None)
    model.add_adapter("a", AdapterConfig(method="lora", item_size=4, user_size=4))
    tiny.stir(model.adapters)
    model.save_adapter(tmp_path / "small" / "a", "a")
    fields = {"base": "../base", "adapter": "a", "items": "../items"}
    (tmp_path / "small" / "base.json").write_text(json.dumps(fields))
    again = TransRec.from_pretrained(tmp_path / "small")
    assert again.recommend([4, 6], 5) == model.recommend([4, 6], 5) and again.active_adapters == ("a",)
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="its base is not there") as error:
        TransRec.from_pretrained(tmp_path / "small")
    assert "\n" not in str(error.value)
    (tmp_path / "small" / "base.json").write_text("{}")
    with pytest.raises(UserError, match=r"base\.json: damaged"):
        TransRec.from_pretrained(tmp_path / "small")


def test_a_model_with_a_merged_adapter_is_not_saved_as_its_base(tmp_path):
    model = model_of("text")
    model.add_adapter("a", AdapterConfig(method="lora", item_size=4, user_size=4, train_head=False))
    tiny.stir(model.adapters)
    model.merge_adapter("a")
    with pytest.raises(UserError, match=r"save_pretrained: adapter 'a' is merged.*unmerge_adapter"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    model.unmerge_adapter()
    model.save_pretrained(tmp_path / "model")


def test_fit_tells_the_model_its_items_and_refuses_what_it_can_not_read():
    with pytest.raises(UserError, match="reads text, the domain's items are image"):
        fit(tiny.model(), tiny.domain("image"), steps=1)
    model, domain = tiny.model(), tiny.domain("text")
    known = []
    fit(
        model,
        domain,
        steps=1,
        show_progress=False,
        on_step=lambda *_: known.append(len(model.recommend([1, 2], 3))),
    )
    assert known == [3] and model.known.catalog is domain.catalog
