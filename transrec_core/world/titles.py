"""The made world's words and titles."""

from __future__ import annotations

import numpy as np

from transrec_core.data.catalog import TextCatalog
from transrec_core.world.config import CLS, PAD, SEP, SPECIAL, WorldConfig, unit


def vocabulary(config: WorldConfig) -> list[str]:
    """Readable made-up words: special tokens, content words, nuisance words, function words."""
    rng = config.rng("vocabulary")
    onsets, vowels, codas = (
        "b d f g k l m n p r s t v z br kr tr st".split(),
        "aeiou",
        ["", "n", "r", "l", "s"],
    )
    count = config.content_words + config.nuisance_words
    words: list[str] = []
    while len(words) < count:
        word = "".join(rng.choice(onsets) + rng.choice(list(vowels)) for _ in range(2)) + rng.choice(codas)
        if word not in words:
            words.append(str(word))
    short: list[str] = []
    while len(short) < config.function_words:
        word = str(rng.choice(list(vowels)) + rng.choice(onsets[:14]) + rng.choice(["", *vowels]))
        if word not in short and word not in words:
            short.append(word)
    return [*SPECIAL, *words, *short]


def write_titles(
    config: WorldConfig,
    z: np.ndarray,
    known: np.ndarray,
    share: np.ndarray,
    stream: str,
    words: list[str] | None,
) -> TextCatalog:
    """Titles of items with latents z [n, K]: each slot holds a function word, a content word close to z, or a
    nuisance word.

    Args:
        known: bool [content words], those that the domain uses.
        share: [n] share of content words.
        words: to write titles as text too.
    """
    rng = config.rng(stream)
    n, width = len(z), config.title_words[1]
    vectors = unit(config.rng("word vectors").normal(size=(config.content_words, config.factors)))
    logits = np.where(known, z @ vectors.T / config.word_temperature, -np.inf)
    cumulative = np.cumsum(np.exp(logits - logits.max(1, keepdims=True)), axis=1)
    lengths = rng.integers(config.title_words[0], width + 1, n)
    kind, point = rng.random((n, width)), rng.random((n, width)) * cumulative[:, -1:]
    content = np.stack([(cumulative <= point[:, [slot]]).sum(1) for slot in range(width)], 1)
    nuisance = config.content_words + rng.integers(0, config.nuisance_words, (n, width))
    zipf = 1 / np.arange(1, config.function_words + 1)
    function = (
        config.content_words
        + config.nuisance_words
        + rng.choice(config.function_words, (n, width), p=zipf / zipf.sum())
    )
    slots = np.where(
        kind < config.function_share,
        function,
        np.where(kind < config.function_share + share[:, None], content, nuisance),
    )
    tokens = np.full((n + 1, width + 2), PAD, dtype=np.int32)
    tokens[:, 0] = CLS
    tokens[1:, 1:-1] = np.where(np.arange(width) < lengths[:, None], slots + len(SPECIAL), PAD)
    counts = np.concatenate([[0], lengths])
    tokens[np.arange(n + 1), counts + 1] = SEP
    titles = None
    if words is not None:
        titles = [" ".join(words[t] for t in row[1 : k + 1]) for row, k in zip(tokens, counts, strict=True)]
    return TextCatalog(tokens, (counts + 2).astype(np.int32), PAD, titles)
