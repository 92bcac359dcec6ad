"""The embedded world: a source and a target domain whose every probability is known.

Items have a latent vector z on the unit sphere of R^K, scattered around topics; half of the topics are shared by both domains.
A user likes two topics; what comes next depends on the user's taste c and, through a fixed rotation Q, on the last item:

    logit(next = i | c, last) = [z_i . c + 0.6 z_i . Q z_last] / T + b_i          b_i = 0.4 N(0, 1), no repeats

Titles and pictures are drawn from z: the same items and the same histories in both modalities. How much a title tells is one number, the
share of content words (``WorldConfig.content_share``); the two settings differ in nothing else, draw for draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from transrec_core.data.catalog import Catalog, ImageCatalog, TextCatalog
from transrec_core.data.domain import Domain
from transrec_core.data.interactions import Interactions
from transrec_core.evaluation import metrics, parts, target_ranks, test_cases

Titles = Literal["informative", "vague"]

PAD, CLS, SEP, MASK, UNK = range(5)
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")
PIXELS = 32


@dataclass(frozen=True)
class WorldConfig:
    """Every number of the world. Fixed in book/protocol.md before anything was compared."""

    seed: int = 2305
    informativeness: Titles = "informative"
    factors: int = 6
    topics: int = 20
    shared_topics: int = 10
    item_noise: float = 0.5
    taste: tuple[float, float] = (0.7, 0.3)
    follow: float = 0.6
    temperature: float = 0.1
    popularity: float = 0.4
    shortest: int = 6
    longest: int = 14
    source_items: int = 1200
    source_users: int = 6000
    target_items: int = 500
    target_users: int = 1800
    extra_users: int = 5400
    content_words: int = 500
    shared_words: float = 0.6
    nuisance_words: int = 160
    function_words: int = 40
    function_share: float = 0.15
    shares: tuple[float, float] = (0.65, 0.30)  # content words in informative and in vague titles
    word_temperature: float = 0.08
    title_words: tuple[int, int] = (6, 10)
    general_sentences: int = 50_000
    general_pictures: int = 8_000
    pixel_noise: float = 0.06

    @property
    def content_share(self) -> float:
        """Share of content words among the slots of a title: the declared axis."""
        return self.shares[0 if self.informativeness == "informative" else 1]

    def rng(self, part: str) -> np.random.Generator:
        """A stream of its own for each part, so that changing one part leaves the draws of all others alone."""
        return np.random.default_rng([self.seed, *part.encode()])


@dataclass(frozen=True)
class Oracle:
    """What the generator's own probabilities reach: ranks of the test cases' targets, int32 [cases], and HR@10."""

    ranks: np.ndarray

    @property
    def hr10(self) -> float:
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
        return write_titles(config, z, np.ones(config.content_words, dtype=bool), shares, "general titles", None)

    @cached_property
    def general_pictures(self) -> np.ndarray:
        """Pictures of no domain, uint8 [n, 3, 32, 32]."""
        z = unit(self.config.rng("general latents").normal(size=(self.config.general_pictures, self.config.factors)))
        return draw_pictures(self.config, z, "general pictures")

    def oracle(self) -> Oracle:
        """Ranks by the true logits, given each user's true taste and last item, on the target's test cases."""
        truth, ranks = self.target.truth, []
        assert truth is not None
        for part, taste in zip(parts(self.target, "all"), ("taste", "extra_taste"), strict=True):
            histories, targets = test_cases(self.target, part)
            tastes, last = truth[taste], histories.last(1)

            def score(users: np.ndarray, tastes: np.ndarray = tastes, last: np.ndarray = last) -> torch.Tensor:
                logits = next_logits(self.config, truth, tastes[users], last[users])
                return torch.from_numpy(np.concatenate([np.zeros((len(users), 1)), logits], 1))

            ranks.append(target_ranks(score, histories, targets))
        return Oracle(np.concatenate(ranks))


def make_world(config: WorldConfig, modality: str) -> World:
    """The world in one modality ("text" or "image"); the histories are the same in both. Takes about two seconds."""
    words = vocabulary(config)
    centres = unit(config.rng("topics").normal(size=(2 * config.topics - config.shared_topics, config.factors)))
    rotation = np.linalg.qr(config.rng("rotation").normal(size=(config.factors, config.factors)))[0]
    shared = round(config.shared_words * config.content_words)
    private = (config.content_words - shared) // 2
    built = {}
    for name, first, n_items, n_users in (
        ("source", 0, config.source_items, config.source_users),
        ("target", config.topics - config.shared_topics, config.target_items, config.target_users + config.extra_users),
    ):
        topics = centres[first : first + config.topics]
        rng = config.rng(f"{name} items")
        topic = rng.integers(0, config.topics, n_items)
        noise = config.item_noise / np.sqrt(config.factors) * rng.normal(size=(n_items, config.factors))
        z = unit(topics[topic] + noise)
        truth = {"topic": topic, "z": z, "bias": config.popularity * rng.normal(size=n_items), "rotation": rotation, "centres": topics}
        histories, taste = draw_histories(config, truth, n_users, f"{name} users")
        catalog: Catalog
        if modality == "image":
            pictures = draw_pictures(config, z, f"{name} pictures")
            catalog = ImageCatalog(np.concatenate([np.zeros_like(pictures[:1]), pictures]))
        else:
            known = np.ones(config.content_words, dtype=bool)
            start = shared if name == "target" else shared + private
            known[start : start + private] = False  # the other domain's own words
            catalog = write_titles(config, z, known, np.full(n_items, config.content_share), f"{name} titles", words)
        own, extra = histories, None
        if name == "target":
            own, extra = histories.select(np.arange(config.target_users)), histories.select(np.arange(config.target_users, n_users))
            truth["extra_taste"] = taste[config.target_users :]
            taste = taste[: config.target_users]
        built[name] = Domain(f"world:{name}", catalog, own, extra=extra, truth=truth | {"taste": taste})
    return World(config, modality, built["source"], built["target"], words)


def unit(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length one."""
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def next_logits(config: WorldConfig, truth: dict[str, np.ndarray], taste: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The generator's logits of all items [users, items], given tastes [users, K] and last item numbers [users] (0: none yet)."""
    z = truth["z"]
    before = np.concatenate([np.zeros((1, z.shape[1])), z])[last]
    direction = taste + config.follow * before @ truth["rotation"].T
    return np.asarray(direction @ z.T / config.temperature + truth["bias"])


def draw_histories(config: WorldConfig, truth: dict[str, np.ndarray], n_users: int, stream: str) -> tuple[Interactions, np.ndarray]:
    """Histories step by step, all users at once, by inverting the cumulative probabilities of items not had yet."""
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
    return Interactions(items[inside], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), n_items), taste


def vocabulary(config: WorldConfig) -> list[str]:
    """Readable made-up words: special tokens, content words, nuisance words, function words."""
    rng = config.rng("vocabulary")
    onsets, vowels, codas = "b d f g k l m n p r s t v z br kr tr st".split(), "aeiou", ["", "n", "r", "l", "s"]
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


def write_titles(config: WorldConfig, z: np.ndarray, known: np.ndarray, share: np.ndarray, stream: str, words: list[str] | None) -> TextCatalog:
    """Titles of items with latents z [n, K]: each slot holds a function word, a content word close to z, or a nuisance word.

    Args:
        known: bool [content words], those that the domain uses. share: [n] share of content words. words: to write titles as text too.
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
    function = config.content_words + config.nuisance_words + rng.choice(config.function_words, (n, width), p=zipf / zipf.sum())
    slots = np.where(kind < config.function_share, function, np.where(kind < config.function_share + share[:, None], content, nuisance))
    tokens = np.full((n + 1, width + 2), PAD, dtype=np.int32)
    tokens[:, 0] = CLS
    tokens[1:, 1:-1] = np.where(np.arange(width) < lengths[:, None], slots + len(SPECIAL), PAD)
    counts = np.concatenate([[0], lengths])
    tokens[np.arange(n + 1), counts + 1] = SEP
    titles = None
    if words is not None:
        titles = [" ".join(words[t] for t in row[1 : k + 1]) for row, k in zip(tokens, counts, strict=True)]
    return TextCatalog(tokens, (counts + 2).astype(np.int32), PAD, titles)


def draw_pictures(config: WorldConfig, z: np.ndarray, stream: str) -> np.ndarray:
    """Emblems of items with latents z [n, K]: hue of the ground from the first two factors, direction of the stripes from the next two,
    place and size of the disc from the last two; phase, brightness, shift and pixel noise tell nothing.

    Returns:
        uint8 [n, 3, 32, 32].
    """
    rng = config.rng(stream)
    n = len(z)
    angles = [np.arctan2(z[:, k + 1], z[:, k]) for k in (0, 2, 4)]
    strength = [np.hypot(z[:, k], z[:, k + 1]) for k in (0, 2, 4)]
    phase, bright = rng.uniform(0, 2 * np.pi, n), rng.uniform(-0.08, 0.08, n)
    shift = rng.uniform(-1.5, 1.5, (n, 2))
    y, x = np.meshgrid(np.arange(PIXELS) - 15.5, np.arange(PIXELS) - 15.5, indexing="ij")

    def col(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32)[:, None, None]

    hue = angles[0][:, None] + np.array([0, 2 * np.pi / 3, 4 * np.pi / 3])  # three channels, a third of a turn apart
    ground = 0.5 + 0.4 * strength[0][:, None] * np.cos(hue) + bright[:, None]
    along = x * col(np.cos(angles[1] / 2)) + y * col(np.sin(angles[1] / 2))
    stripes = col(0.22 * strength[1]) * np.sin(0.9 * along + col(phase))
    centre = 8.5 * np.stack([np.cos(angles[2]), np.sin(angles[2])], 1) + shift
    distance = np.hypot(x - col(centre[:, 0]), y - col(centre[:, 1]))
    disc = 1 / (1 + np.exp((distance - col(2.5 + 4.5 * strength[2])) / 0.5))
    picture = (ground[:, :, None, None] + stripes[:, None]) * (1 - disc[:, None]) + (1.1 - ground[:, :, None, None]) * disc[:, None]
    picture += config.pixel_noise * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(255 * picture, 0, 255).astype(np.uint8)
