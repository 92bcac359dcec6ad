"""Recommending in ids against a plain loop; vectors that are kept while they hold; new items."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests import shop, tiny
from transrec_core.adapters import AdapterConfig
from transrec_core.base.errors import UserError
from transrec_core.data.domain import Domain
from transrec_core.data.ids import id_text, plain_id
from transrec_core.evaluation.ranking import model_scorer
from transrec_core.models import IdEncoder, ModelSpec, TransRec
from transrec_core.models import recommend as recommend_module

IDS = ["", *(f"B{n:03d}" for n in range(1, tiny.ITEMS + 1))]


def known(modality: str = "text", ids=IDS) -> tuple[TransRec, Domain]:
    """A stirred model that knows the items of a tiny domain."""
    family = "vit" if modality == "image" else "bert"
    model = (
        TransRec(IdEncoder(tiny.ITEMS, 16), ModelSpec(dim=16, max_len=10))
        if modality == "id"
        else tiny.model(family)
    )
    tiny.stir(model)
    domain = tiny.domain(modality)
    domain.item_ids = ids
    model.remember(domain)
    return model, domain


@pytest.fixture(scope="module")
def shop_model(tmp_path_factory) -> tuple[TransRec, Domain, pd.DataFrame]:
    folder = shop.save_encoder(tmp_path_factory.mktemp("bert"))
    interactions, items = shop.frames(40, 60)
    domain = Domain.from_frame(interactions, items, folder, max_tokens=6, cache=False)
    model = TransRec.from_encoder(folder, dim=16, max_len=8)
    model.remember(domain)
    return model, domain, items


def best_by_hand(model: TransRec, domain: Domain, user: int, k: int, exclude: bool) -> list[str]:
    """Written from the definition, by the scores that the evaluation ranks by."""
    model.eval()
    histories = domain.interactions
    scores = model_scorer(model, model.catalogue(domain.catalog), histories)(np.array([user]))[0].tolist()
    had = set(histories.user(user).tolist()) if exclude else set()
    items = [i for i in range(1, tiny.ITEMS + 1) if i not in had]
    return [IDS[i] for i in sorted(items, key=lambda i: -scores[i])[:k]]


@pytest.mark.parametrize("modality", ["text", "image", "id"])
@pytest.mark.parametrize("exclude", [True, False])
def test_the_best_are_those_of_a_plain_loop(modality, exclude):
    model, domain = known(modality)
    histories = [[IDS[i] for i in domain.interactions.user(user)] for user in range(12)]
    best = model.recommend(histories, 7, exclude_history=exclude)
    for user, one in enumerate(best):
        assert one.ids == best_by_hand(model, domain, user, 7, exclude)
        assert one.scores == sorted(one.scores, reverse=True)
    alone = model.recommend(histories[3], 7, exclude_history=exclude)
    assert alone.ids == best[3].ids and alone.scores == pytest.approx(best[3].scores, abs=1e-4)


def test_only_the_last_max_len_are_read_and_all_are_excluded():
    model, _ = known()
    long = IDS[1:31]
    assert model.spec.max_len == 10
    read = model.recommend(long[-10:], tiny.ITEMS)
    best = model.recommend(long, tiny.ITEMS)
    assert len(best) == tiny.ITEMS - 30 and not set(best.ids) & set(long)
    assert best.ids == [item for item in read.ids if item not in long]


def test_blocks_change_nothing_and_any_number_of_users_is_read_as_it_goes(monkeypatch):
    model, domain = known()
    histories = [[IDS[i] for i in domain.interactions.user(user)] for user in range(20)]
    whole = model.recommend(histories, 5)
    monkeypatch.setattr(recommend_module, "SCORES_AT_ONCE", 3 * (tiny.ITEMS + 1))
    read = []

    def stream():
        for history in histories:
            read.append(history)
            yield history

    each = model.recommend_each(stream(), 5)
    assert next(each).ids == whole[0].ids and len(read) == 3
    assert [one.ids for one in each] == [one.ids for one in whole[1:]]


def test_recommendations_are_pairs_and_can_be_read(shop_model):
    model, _, items = shop_model
    best = model.recommend(["B001", "B013"], k=6)
    assert list(best) == list(zip(best.ids, best.scores, strict=True)) and len(best[:2]) == 2
    assert repr(best).startswith(f"<6 recommendations: {best.ids[0]} (") and repr(best).endswith(", ...>")
    first = str(best).splitlines()[0].split()
    title = items.set_index("item").loc[best.ids[0], "title"]
    assert first == ["1", best.ids[0], f"{best.scores[0]:.3f}", *title.split()]


def test_ids_may_be_whole_numbers_of_any_kind():
    model, _ = known(ids=["", *range(101, 101 + tiny.ITEMS)])
    best = model.recommend([101, 107], 3)
    assert all(type(item) is int for item in best.ids)
    for same in (np.array([101, 107]), ["101", "107"], pd.Series([101.0, 107.0]), (101, np.int32(107))):
        assert model.recommend(same, 3) == best
    assert [one.ids for one in model.recommend(np.array([[101, 107]]), 3)] == [best.ids]


def test_an_id_is_what_its_text_is():
    assert [plain_id(v) for v in (7, 7.0, np.int64(7), "7", "x", 7.5, True)] == [
        7,
        7,
        7,
        "7",
        "x",
        "7.5",
        "True",
    ]
    assert id_text(np.float64(7)) == id_text("7") == "7" and id_text(float("inf")) == "inf"


@pytest.mark.parametrize(
    ("histories", "options", "message"),
    [
        (["B001", "B01"], {}, "item 'B01' is not among the 40 that the model knows; did you mean 'B0"),
        (["B001", "zzzzz"], {}, "add_items makes the model know new ones"),
        ([["B001"], ["B002", "B0x2"]], {}, "history 2: item 'B0x2' is not among"),
        ([], {}, "a history is empty"),
        ([["B001"], []], {}, "history 2: a history is empty"),
        ("B001", {}, "a history is a list of item ids: ['B001'], not 'B001'"),
        ([["B001"], "B002"], {}, "history 2: a history is a list of item ids"),
        (["B001"], {"k": 0}, "k=0"),
    ],
)
def test_what_can_not_be_recommended_for_is_told(histories, options, message):
    model, _ = known()
    with pytest.raises(UserError) as error:
        model.recommend(histories, **options)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_unknown_items_are_skipped_if_told():
    model, _ = known()
    known_only = model.recommend(["B001", "B004"], 4)
    best = model.recommend([["B001", "new", "B004"], ["new"]], 4, skip_unknown=True)
    assert best[0].ids == known_only.ids and len(best[1]) == 0


def test_a_model_that_knows_no_items_or_diverged_says_so():
    with pytest.raises(UserError, match="knows no items yet"):
        tiny.model().recommend(["B001"])
    model, _ = known()
    with torch.no_grad():
        model.item_encoder.projection.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="diverged"):
        model.recommend(["B001"])


@pytest.mark.parametrize("mode", [True, False])
def test_recommending_keeps_the_mode_and_draws_nothing(mode):
    model, _ = known()
    model.train(mode)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    model.recommend(["B001"])
    assert model.training is mode and torch.equal(torch.get_rng_state(), state)


def fused_step(model: TransRec) -> None:
    trained = list(model.adapters["a"].parameters())
    for parameter in trained:
        parameter.grad = torch.ones_like(parameter)
    torch.optim.AdamW(trained, lr=0.5, fused=True).step()


CHANGES = {
    "a step of a fused optimiser": fused_step,
    "another adapter": lambda model: model.set_adapter("b"),
    "no adapter": lambda model: model.disable_adapters(),
    "loaded weights": lambda model: model.load_state_dict(
        {name: value + 0.1 for name, value in model.state_dict().items()}
    ),
    "frozen weights in place": lambda model: torch.no_grad()(
        model.item_encoder.backbone.encoder.layer[0].output.dense.bias.add_
    )(1),
    "another domain": lambda model: model.remember(tiny.domain("text", seed=4)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_item_vectors_are_computed_once_and_again_after_a_change(change, monkeypatch):
    model, _ = known()
    for name in ("b", "a"):
        model.add_adapter(name, AdapterConfig(method="houlsby", item_size=4, user_size=4))
    tiny.stir(model.adapters)
    model.item_encoder.backbone.requires_grad_(False)
    calls = []
    whole = model.catalogue
    monkeypatch.setattr(model, "catalogue", lambda catalog: calls.append(1) or whole(catalog))
    before = model.item_vectors()
    model.recommend(["B001"])
    assert model.item_vectors() is before and len(calls) == 1
    CHANGES[change](model)
    after = model.item_vectors()
    assert len(calls) == 2 and not torch.equal(after, before)
    assert torch.equal(after, whole(model.known.catalog))


def test_users_alone_change_no_item_vector():
    model, _ = known()
    before, best = model.item_vectors(), model.recommend(["B001", "B002"], 5)
    tiny.stir(model.user_encoder)
    assert model.item_vectors() is before and model.recommend(["B001", "B002"], 5).ids != best.ids


def test_encoding_titles_gives_the_items_vectors(shop_model):
    model, _, items = shop_model
    vectors = model.encode(items["title"].tolist())
    assert vectors.dtype == np.float32 and vectors.shape == (60, 16)
    assert np.allclose(vectors, model.item_vectors()[1:], atol=1e-6)
    assert np.allclose(model.encode(items["title"][4]), vectors[4], atol=1e-6)
    assert model.encode([]).shape == (0, 16)
    with pytest.raises(UserError, match="content 2 of 2 is empty"):
        model.encode(["kind1", " "])
    with pytest.raises(UserError, match="does not know how to read new items"):
        known()[0].encode(["kind1"])


def test_new_items_are_recommended_and_stand_in_histories(tmp_path):
    folder = shop.save_encoder(tmp_path)
    interactions, items = shop.frames(40, 60)
    model = TransRec.from_encoder(folder, dim=16, max_len=8)
    model.remember(Domain.from_frame(interactions, items, folder, max_tokens=6, cache=False))
    before = model.recommend(["B001", "B013"], k=100)
    new = pd.DataFrame(
        {"sku": ["N1", "N2"], "title": [items["title"][0], "kind3 word1 word2 word3 word4 word5"]}
    )
    model.add_items(new, item="sku")
    best = model.recommend(["B001", "B013"], k=100)
    assert set(best.ids) == {*before.ids, "N1", "N2"}
    same = dict(best)
    assert dict(before).items() <= {k: pytest.approx(v, abs=1e-5) for k, v in same.items()}.items()
    twin = model.recommend(["B013"], k=100)
    assert dict(twin)["N1"] == pytest.approx(dict(twin)["B001"], abs=1e-5)  # the same title
    assert "N2" not in model.recommend(["N2", "B001"], k=100).ids
    assert model.known.catalog.lengths[-1] == 6  # cut as the others were
    with pytest.raises(UserError, match="item 'N1' is known already"):
        model.add_items(new, item="sku")
    with pytest.raises(UserError, match="no column 'item'"):
        model.add_items(new)


def test_items_that_the_encoder_can_not_read_are_told_before_anything_is_computed():
    model = tiny.model("bert")
    for catalog, message in (
        (tiny.catalog("image"), r"\(bert\) reads text, the domain's items are image"),
        (tiny.catalog("text"), None),
    ):
        domain = tiny.domain("text")
        domain.catalog = catalog
        if message is not None:
            with pytest.raises(UserError, match=message):
                model.remember(domain)
    domain = tiny.domain("text")
    domain.catalog.tokens[3, 0] = 50
    with pytest.raises(UserError, match="token 50 is not in the encoder's vocabulary of 50"):
        model.remember(domain)
    domain = tiny.domain("text")
    domain.catalog.lengths[2] = 17
    with pytest.raises(UserError, match="max_tokens=17: the encoder reads 16 at most"):
        model.remember(domain)
    vit, domain = tiny.model("vit"), tiny.domain("image")
    domain.catalog = type(domain.catalog)(domain.catalog.pixels.repeat(2, 2).repeat(2, 3))
    with pytest.raises(UserError, match="image_size=32: the encoder reads pictures of 16 pixels"):
        vit.remember(domain)
    with pytest.raises(UserError, match="40 items: an item-ID model stays"):
        TransRec(IdEncoder(9, 16), ModelSpec(dim=16)).remember(tiny.domain("id"))
