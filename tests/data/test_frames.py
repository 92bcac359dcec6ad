"""Domains from data frames: order, ids, and what is refused."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from transformers import BertTokenizer

from tests import shop
from transrec_core.base.errors import UserError
from transrec_core.data.domain import Domain


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSREC_CACHE", str(tmp_path / "cache"))


def tokenizer() -> BertTokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *shop.WORDS]
    return BertTokenizer(vocab={word: n for n, word in enumerate(words)})


def small() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two users, "x" with items 1 to 4 in time order and "y" with 4 to 1; the rows are in another order."""
    rows = [("x", 3, 30), ("y", 4, 1), ("x", 1, 10), ("y", 3, 2), ("x", 4, 40), ("x", 2, 20), ("y", 2, 3)]
    rows.append(("y", 1, 4))
    items = pd.DataFrame({"item": [1, 2, 3, 4], "title": ["word1", "word2", "word3", "word4"]})
    return pd.DataFrame(rows, columns=["user", "item", "timestamp"]), items


def domain(interactions: pd.DataFrame, items: pd.DataFrame, **options) -> Domain:
    return Domain.from_frame(interactions, items, tokenizer(), **{"min_user": 3, **options})


def test_histories_are_in_time_order_and_ids_are_shown_as_given():
    made = domain(*small())
    assert made.history("x") == [1, 2, 3, 4] and made.history("y") == [4, 3, 2, 1]
    assert made.user_ids == ["y", "x"]  # by their first interactions
    assert made.item_ids == ["", 1, 2, 3, 4] and type(made.item_ids[1]) is int
    assert made.split.test_target.tolist() == [1, 4]
    with pytest.raises(UserError, match="no user 'z'"):
        made.history("z")


def test_the_order_of_the_rows_does_not_matter_where_times_differ():
    interactions, items = shop.frames(30, 24)
    interactions["timestamp"] = np.arange(len(interactions))
    shuffled = interactions.sample(frac=1, random_state=5)
    assert domain(interactions, items).fingerprint() == domain(shuffled, items).fingerprint()


def test_equal_times_and_no_times_keep_the_order_of_the_rows():
    interactions, items = small()
    rows = [3, 1, 4, 2]
    assert domain(interactions.assign(timestamp=7), items).history("x") == rows
    assert domain(interactions.drop(columns="timestamp"), items, timestamp=None).history("x") == rows


@pytest.mark.parametrize(
    "times",
    [
        lambda t: t * 0.5,
        lambda t: t.astype("Int64"),
        lambda t: t.astype(str),
        lambda t: pd.to_datetime(t, unit="D"),
        lambda t: pd.to_datetime(t, unit="D", utc=True),
        lambda t: pd.to_datetime(t, unit="D").dt.strftime("%Y-%m-%d"),
        lambda t: pd.to_datetime(t, unit="D").dt.strftime("%Y-%m-%dT%H:%M:%SZ").astype("category"),
        lambda t: t.map(lambda day: datetime.date(2020, 1, 1) + datetime.timedelta(int(day))),
        lambda t: t + 2**60,  # exact: no float can tell these apart
        lambda t: pd.Series([2**60 + day if day < 40 else float(2**60) + 4096 for day in t], dtype=object),
    ],
)
def test_any_kind_of_time_orders(times):
    interactions, items = small()
    made = domain(interactions.assign(timestamp=times(interactions["timestamp"])), items)
    assert made.history("x") == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", [str, "int32", "float64", "Int64", "category", object])
def test_ids_of_different_types_are_the_same_if_their_texts_are(kind):
    interactions, items = small()
    made = domain(interactions.assign(item=interactions["item"].astype(kind)), items)
    assert made.history("x") == [1, 2, 3, 4]
    texts = domain(interactions, items.assign(item=items["item"].astype(kind)))
    assert [str(item) for item in texts.history("x")] == ["1", "2", "3", "4"]


def test_columns_may_have_other_names():
    interactions, items = small()
    interactions = interactions.rename(columns={"user": "customer", "item": "sku", "timestamp": "when"})
    items = items.rename(columns={"item": "sku", "title": "name"})
    made = domain(interactions, items, user="customer", item="sku", timestamp="when", title="name")
    assert made.history("x") == [1, 2, 3, 4]


def test_short_users_are_left_out_and_told():
    interactions, items = small()
    made = domain(interactions.iloc[:-1], items, min_user=4)  # y has three now
    assert made.user_ids == ["x"] and made.left_out == 1
    assert repr(made) == (
        "Domain 'frames': 1 users (1 shorter ones left out), 4 items read by text, 4 interactions"
    )


def test_long_titles_are_cut_and_items_nobody_had_are_in_the_catalogue():
    interactions, items = small()
    items.loc[len(items)] = [9, "word1 word2 word3 word4 word5"]
    made = domain(interactions, items, max_tokens=4)
    assert made.catalog.n_items == 5 and made.catalog.lengths.tolist() == [2, 3, 3, 3, 3, 4]
    assert made.reader.max_tokens == 4


def test_pictures_are_read_where_there_is_no_tokenizer(tmp_path):
    interactions, items = small()
    for number in (1, 2, 3, 4):
        Image.new("RGB", (40, 30), (10 * number, 0, 0)).save(tmp_path / f"{number}.png")
    items["picture"] = [f"{number}.png" for number in items["item"]]
    options = {"min_user": 3, "image_size": 16, "picture_folder": tmp_path}
    made = Domain.from_frame(interactions, items, **options)
    assert made.catalog.pixels.shape == (5, 3, 16, 16) and made.catalog.pixels[3, 0].max() == 30
    items.loc[1, "picture"] = "lost.png"
    with pytest.raises(UserError, match=r"items: the picture of item 2 is not there: .*lost\.png"):
        Domain.from_frame(interactions, items, **options)
    items.loc[1, "picture"] = None
    with pytest.raises(UserError, match="item 2 has no picture"):
        Domain.from_frame(interactions, items, **options)


def changed(frame: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    values = frame[column].astype(object)
    values.iloc[row] = value
    return frame.assign(**{column: values})


INTERACTIONS, ITEMS = small()


@pytest.mark.parametrize(
    ("interactions", "items", "options", "message"),
    [
        (INTERACTIONS.drop(columns="timestamp"), ITEMS, {}, "no column 'timestamp' (there are: user, item)"),
        (INTERACTIONS.drop(columns="timestamp"), ITEMS, {}, "timestamp=None if the rows are in time order"),
        (INTERACTIONS.rename(columns={"user": "user_id"}), ITEMS, {}, "name it with user='user_id'"),
        (INTERACTIONS, ITEMS.drop(columns="title"), {}, "items: no column 'title'"),
        (INTERACTIONS, pd.concat([ITEMS, ITEMS["title"]], axis=1), {}, "several columns are called 'title'"),
        (
            changed(INTERACTIONS, 2, "item", 77),
            ITEMS,
            {},
            "row 2: item 77 has no row in items (items without one: 1)",
        ),
        (
            changed(INTERACTIONS, 4, "user", None),
            ITEMS,
            {},
            "row 4: no value in 'user' (rows without one: 1)",
        ),
        (changed(INTERACTIONS, 4, "item", float("nan")), ITEMS, {}, "row 4: no value in 'item'"),
        (changed(INTERACTIONS, 5, "timestamp", None), ITEMS, {}, "row 5: no value in 'timestamp'"),
        (changed(INTERACTIONS, 5, "timestamp", "soon"), ITEMS, {}, "mixes int, str"),
        (
            changed(INTERACTIONS.astype({"timestamp": str}), 5, "timestamp", "soon"),
            ITEMS,
            {},
            "'soon' in 'timestamp' is no time",
        ),
        (INTERACTIONS, changed(ITEMS, 1, "title", " "), {}, "row 1: item 2 has no title (1 of 4 have none)"),
        (INTERACTIONS, changed(ITEMS, 3, "title", None), {}, "row 3: item 4 has no title"),
        (INTERACTIONS, changed(ITEMS, 3, "item", 1), {}, "row 3: item 1 is there already (row 0)"),
        (INTERACTIONS, changed(ITEMS, 3, "item", "1"), {}, "row 3: item '1' is there already (row 0)"),
        (INTERACTIONS, ITEMS, {"min_user": 5}, "no user has 5 of them (the longest history has 4)"),
        (INTERACTIONS, ITEMS, {"min_user": 2}, "min_user=2: 3 are the least"),
        (INTERACTIONS, ITEMS, {"max_tokens": 2}, "max_tokens=2"),
        (INTERACTIONS[:0], ITEMS, {}, "interactions: the frame has no rows"),
        (INTERACTIONS, ITEMS[:0], {}, "items: the frame has no rows"),
        ([("x", 1, 1)], ITEMS, {}, "interactions: a list is no pandas data frame"),
    ],
)
def test_bad_frames_are_told_in_one_line(interactions, items, options, message):
    with pytest.raises(UserError) as error:
        domain(interactions, items, **options)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "titles need tokenizer=FOLDER_OR_NAME"),
        ("no/such/folder", "no tokenizer at 'no/such/folder'"),
        (7, "tokenizer: of type int"),
    ],
)
def test_a_tokenizer_that_is_none_is_told(given, message):
    with pytest.raises(UserError) as error:
        Domain.from_frame(INTERACTIONS, ITEMS, given, min_user=3)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_a_vocabulary_has_no_tokenizer(tmp_path):
    """From a configuration alone, transformers makes a tokenizer that knows no word."""
    folder = shop.save_encoder(tmp_path / "bert")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "bert" / name).unlink()
    with pytest.raises(UserError, match="it has no vocabulary"):
        Domain.from_frame(INTERACTIONS, ITEMS, folder, min_user=3)
