"""The embedded world: a source and a target domain whose every probability is known.

Items have a latent vector z on the unit sphere of R^K, scattered around topics; half of the topics are shared
by both domains. A user likes two topics; what comes next depends on the user's taste c and, through a fixed
rotation Q, on the last item:

    logit(next = i | c, last) = [z_i . c + 0.6 z_i . Q z_last] / T + b_i         b_i = 0.4 N(0, 1), no repeats

Titles and pictures are drawn from z: the same items and the same histories in both modalities. How much a
title tells is one number, the share of content words (``WorldConfig.content_share``); the two settings differ
in nothing else, draw for draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from transrec_core.data.catalog import Catalog, ImageCatalog, TextCatalog
from transrec_core.data.domain import Domain
from transrec_core.data.interactions import Interactions
from transrec_core.evaluation.metrics import metrics
from transrec_core.evaluation.ranking import parts, target_ranks, test_cases
from transrec_core.world.config import WorldConfig, unit
from transrec_core.world.pictures import draw_pictures
from transrec_core.world.titles import vocabulary, write_titles


@dataclass(frozen=True)
class Oracle:
    """What the generator's own probabilities reach: ranks of the test cases' targets, int32 [cases], and
    HR@10.
    """

    ranks: np.ndarray

    @property
    def hr10(self) -> float:
        """HR@10 as a fraction."""
        return metrics(self.ranks)["HR@10"]


@dataclass
class World:
    """Both domains in one modality, the general stage's material, and the truth behind them."""

    config: WorldConfig
    modality: str
    source: Domain
    target: Domain
    vocabulary: list[str]

    @cached_property
    def general_titles(self) -> TextCatalog:
        """Sentences of no domain, for the general stage."""
        config = self.config
        rng = config.rng("general sentences")
        z = unit(rng.normal(size=(config.general_sentences, config.factors)))
        shares = rng.uniform(min(config.shares), max(config.shares), len(z))
        return write_titles(
            config, z, np.ones(config.content_words, dtype=bool), shares, "general titles", None
        )

    @cached_property
    def general_pictures(self) -> np.ndarray:
        """Pictures of no domain, uint8 [n, 3, 32, 32]."""
        z = unit(
            self.config.rng("general latents").normal(
                size=(self.config.general_pictures, self.config.factors)
            )
        )
        return draw_pictures(self.config, z, "general pictures")

    def oracle(self) -> Oracle:
        """Ranks by the true logits, given each user's true taste and last item, on the target's test
        cases.
        """
        truth, ranks = self.target.truth, []
        assert truth is not None
        for part, taste in zip(parts(self.target, "all"), ("taste", "extra_taste"), strict=True):
            histories, targets = test_cases(self.target, part)
            tastes, last = truth[taste], histories.last(1)

            def score(
                users: np.ndarray, tastes: np.ndarray = tastes, last: np.ndarray = last
            ) -> torch.Tensor:
                logits = next_logits(self.config, truth, tastes[users], last[users])
                return torch.from_numpy(np.concatenate([np.zeros((len(users), 1)), logits], 1))

            ranks.append(target_ranks(score, histories, targets))
        return Oracle(np.concatenate(ranks))


def make_world(config: WorldConfig, modality: str) -> World:
    """The world in one modality ("text" or "image"); the histories are the same in both. Takes about two
    seconds.
    """
    words = vocabulary(config)
    centres = unit(
        config.rng("topics").normal(size=(2 * config.topics - config.shared_topics, config.factors))
    )
    rotation = np.linalg.qr(config.rng("rotation").normal(size=(config.factors, config.factors)))[0]
    shared = round(config.shared_words * config.content_words)
    private = (config.content_words - shared) // 2
    built = {}
    for name, first, n_items, n_users in (
        ("source", 0, config.source_items, config.source_users),
        (
            "target",
            config.topics - config.shared_topics,
            config.target_items,
            config.target_users + config.extra_users,
        ),
    ):
        topics = centres[first : first + config.topics]
        rng = config.rng(f"{name} items")
        topic = rng.integers(0, config.topics, n_items)
        noise = config.item_noise / np.sqrt(config.factors) * rng.normal(size=(n_items, config.factors))
        z = unit(topics[topic] + noise)
        truth = {
            "topic": topic,
            "z": z,
            "bias": config.popularity * rng.normal(size=n_items),
            "rotation": rotation,
            "centres": topics,
        }
        histories, taste = draw_histories(config, truth, n_users, f"{name} users")
        catalog: Catalog
        if modality == "image":
            pictures = draw_pictures(config, z, f"{name} pictures")
            catalog = ImageCatalog(np.concatenate([np.zeros_like(pictures[:1]), pictures]))
        else:
            known = np.ones(config.content_words, dtype=bool)
            start = shared if name == "target" else shared + private
            known[start : start + private] = False  # the other domain's own words
            catalog = write_titles(
                config, z, known, np.full(n_items, config.content_share), f"{name} titles", words
            )
        own, extra = histories, None
        if name == "target":
            own, extra = (
                histories.select(np.arange(config.target_users)),
                histories.select(np.arange(config.target_users, n_users)),
            )
            truth["extra_taste"] = taste[config.target_users :]
            taste = taste[: config.target_users]
        built[name] = Domain(f"world:{name}", catalog, own, extra=extra, truth=truth | {"taste": taste})
    return World(config, modality, built["source"], built["target"], words)


def next_logits(
    config: WorldConfig, truth: dict[str, np.ndarray], taste: np.ndarray, last: np.ndarray
) -> np.ndarray:
    """The generator's logits of all items [users, items], given tastes [users, K] and last item numbers
    [users] (0: none yet).
    """
    z = truth["z"]
    before = np.concatenate([np.zeros((1, z.shape[1])), z])[last]
    direction = taste + config.follow * before @ truth["rotation"].T
    return np.asarray(direction @ z.T / config.temperature + truth["bias"])


def draw_histories(
    config: WorldConfig, truth: dict[str, np.ndarray], n_users: int, stream: str
) -> tuple[Interactions, np.ndarray]:
    """Histories step by step, all users at once, by inverting the cumulative probabilities of items not
    had yet.
    """
    rng = config.rng(stream)
    centres, n_items = truth["centres"], len(truth["z"])
    pairs = np.argsort(rng.random((n_users, config.topics)), axis=1)[:, :2]  # two different topics
    taste = config.taste[0] * centres[pairs[:, 0]] + config.taste[1] * centres[pairs[:, 1]]
    lengths = rng.integers(config.shortest, config.longest + 1, n_users)
    items = np.zeros((n_users, config.longest), dtype=np.int32)
    seen = np.zeros((n_users, n_items), dtype=bool)
    last = np.zeros(n_users, dtype=np.int64)
    rows = np.arange(n_users)
    for t in range(config.longest):
        logits = next_logits(config, truth, taste, last).astype(np.float32)
        weights = np.exp(logits - logits.max(1, keepdims=True))
        weights[seen] = 0
        cumulative = np.cumsum(weights, axis=1, dtype=np.float64)
        point = rng.random(n_users) * cumulative[:, -1]
        choice = np.minimum((cumulative <= point[:, None]).sum(1), n_items - 1)
        seen[rows, choice] = True
        last = choice + 1
        items[:, t] = last
    inside = np.arange(config.longest) < lengths[:, None]
    return Interactions(
        items[inside], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), n_items
    ), taste
