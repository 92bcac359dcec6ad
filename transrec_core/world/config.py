"""Every number of the made world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

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
        """A stream of its own for each part, so that changing one part leaves the draws of all others
        alone.
        """
        return np.random.default_rng([self.seed, *part.encode()])


def unit(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length one."""
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))
