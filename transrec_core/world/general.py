"""The general stage: what an encoder knows before it has seen any recommendation, learnt without labels.

Words: PPMI and SVD give word vectors (Levy and Goldberg 2014), which start the embedding of a small BERT that
then guesses masked words. Pictures: a small ViT is the encoder of a masked auto-encoder. `python -m
transrec_core.world.general` builds both; they ship in ``transrec_core/assets/general`` and `make
rebuild-world` shows that a rebuild gives the same bits.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm
from transformers import BertConfig, BertModel, ViTConfig, ViTMAEConfig, ViTMAEForPreTraining, ViTModel

from transrec_core.base.files import atomic_write, sha256_of
from transrec_core.data.catalog import Catalog, ImageCatalog, TextCatalog
from transrec_core.models.item_encoder import ItemEncoder
from transrec_core.world.config import MASK, PIXELS, SPECIAL, WorldConfig
from transrec_core.world.made import World, make_world

FOLDER = Path(__file__).parents[1] / "assets" / "general"
SEED = 2305
TEXT_STEPS, IMAGE_STEPS = 2500, 2500
WIDTH, LAYERS, HEADS, FFN = 32, 2, 2, 128


def word_vectors(catalog: TextCatalog, vocabulary_size: int, width: int) -> np.ndarray:
    """Word vectors from co-occurrence in a sentence: singular vectors of the positive pointwise mutual
    information, float32 [words, width].
    """
    present = np.zeros((len(catalog.tokens), vocabulary_size), dtype=np.float32)
    present[np.arange(len(catalog.tokens))[:, None], catalog.tokens] = 1
    present[:, : len(SPECIAL)] = 0
    together = present.T @ present
    np.fill_diagonal(together, 0)
    total, marginal = together.sum(), together.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = np.log(together * total / np.outer(marginal, marginal))
    ppmi = np.where(np.isfinite(pmi), np.maximum(pmi, 0), 0)
    u, s, _ = np.linalg.svd(ppmi)
    vectors = u[:, :width] * np.sqrt(s[:width])
    return np.asarray(vectors / vectors.std(), dtype=np.float32)


def masked_words(
    catalog: TextCatalog,
    config: BertConfig,
    special: Sequence[int],
    mask: int,
    seed: int,
    steps: int,
    batch: int,
    peak: float,
    vectors: np.ndarray | None = None,
    show_progress: bool = True,
) -> BertModel:
    """A BERT that has guessed masked words (20 %, all replaced by the mask) of titles.

    Args:
        config: its shape.
        special: tokens that are never masked.
        mask: the token in place of a masked one.
        seed: of weights, titles and masks.
        batch: titles a step.
        peak: step size.
        vectors: the start of the words' embedding [words, width]; None leaves it random.
    """
    torch.manual_seed(seed)
    model = BertModel(config, add_pooling_layer=False)
    words = model.embeddings.word_embeddings.weight
    if vectors is not None:
        with torch.no_grad():
            words.copy_(torch.from_numpy(vectors))
    guess = nn.Sequential(
        nn.Linear(config.hidden_size, config.hidden_size), nn.GELU(), nn.LayerNorm(config.hidden_size)
    )
    bias = nn.Parameter(torch.zeros(config.vocab_size))
    rng, fixed = np.random.default_rng(seed), torch.tensor(special)

    def loss(step: int) -> Tensor:
        chosen_titles = catalog.batch(torch.from_numpy(rng.integers(1, catalog.n_items + 1, batch)))
        tokens = chosen_titles["input_ids"]
        chosen = torch.from_numpy(rng.random(tokens.shape) < 0.2) & ~torch.isin(tokens, fixed)
        masked = tokens.masked_fill(chosen, mask)
        states = model(input_ids=masked, attention_mask=chosen_titles["attention_mask"]).last_hidden_state[
            chosen
        ]
        return F.cross_entropy(guess(states) @ words.T + bias, tokens[chosen])

    _optimise([*model.parameters(), *guess.parameters(), bias], loss, steps, peak, "words", show_progress)
    return model


def text_backbone(world: World, steps: int = TEXT_STEPS, show_progress: bool = True) -> BertModel:
    """The embedded world's text encoder, from its general sentences."""
    catalog, size = world.general_titles, len(world.vocabulary)
    config = BertConfig(
        vocab_size=size,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=FFN,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    vectors = np.float32(0.05) * word_vectors(catalog, size, WIDTH)
    return masked_words(
        catalog, config, range(len(SPECIAL)), MASK, SEED, steps, 256, 3e-3, vectors, show_progress
    )


def masked_pictures(
    pictures: ImageCatalog,
    shape: dict[str, Any],
    seed: int,
    steps: int,
    batch: int,
    peak: float,
    normalise: bool = False,
    show_progress: bool = True,
) -> ViTModel:
    """A ViT that was the encoder of a masked auto-encoder (He et al. 2022, half of the patches hidden, a
    decoder of one layer).

    Args:
        shape: fields of a ViTConfig.
        seed: of weights, pictures and masks.
        batch: pictures a step.
        peak: step size.
        normalise: whether the goal is each patch with mean and deviation taken out.
    """
    torch.manual_seed(seed)
    config = ViTMAEConfig(
        **shape,
        mask_ratio=0.5,
        decoder_hidden_size=shape["hidden_size"],
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=shape["num_attention_heads"],
        decoder_intermediate_size=shape["intermediate_size"],
        norm_pix_loss=normalise,
    )
    auto = ViTMAEForPreTraining(config)
    rng = np.random.default_rng(seed)

    def loss(step: int) -> Tensor:
        out: Tensor = auto(
            **pictures.batch(torch.from_numpy(rng.integers(1, pictures.n_items + 1, batch)))
        ).loss
        return out

    _optimise(list(auto.parameters()), loss, steps, peak, "pictures", show_progress)
    model = ViTModel(ViTConfig(**shape), add_pooling_layer=False)
    model.load_state_dict(auto.vit.state_dict())
    return model


def image_backbone(world: World, steps: int = IMAGE_STEPS, show_progress: bool = True) -> ViTModel:
    """The embedded world's picture encoder, from its general pictures."""
    shape: dict[str, Any] = {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": FFN,
        "image_size": PIXELS,
        "patch_size": 8,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    pictures = ImageCatalog(np.concatenate([world.general_pictures[:1], world.general_pictures]))
    return masked_pictures(pictures, shape, SEED, steps, 128, 2e-3, show_progress=show_progress)


def _optimise(parameters, loss, steps, peak, name, show_progress):  # type: ignore[no-untyped-def]
    optimizer = torch.optim.AdamW(parameters, lr=peak, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=max(2, steps), pct_start=0.05)
    bar = tqdm(range(steps), desc=name, disable=not show_progress, leave=False)
    for step in bar:
        value = loss(step)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            bar.set_postfix(loss=f"{value.item():.3f}")


@torch.no_grad()
def probe_r2(backbone: nn.Module, catalog: Catalog, z: np.ndarray) -> float:
    """How well a linear map reads the latents from the mean state: R^2 on held-out items of a ridge
    regression, averaged over factors.
    """
    encoder = ItemEncoder(backbone, 1, "mean").eval()
    states = encoder.pooled(catalog.batch(torch.arange(1, catalog.n_items + 1))).double().numpy()
    states = (states - states.mean(0)) / (states.std(0) + 1e-9)
    order = np.random.default_rng(0).permutation(len(z))
    fit, held = order[: len(z) // 2], order[len(z) // 2 :]
    x = states[fit]
    weights = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ (z[fit] - z[fit].mean(0)))
    rest = z[held] - z[fit].mean(0) - states[held] @ weights
    return float(1 - (rest**2).sum() / ((z[held] - z[held].mean(0)) ** 2).sum())


def build(folder: Path = FOLDER) -> dict[str, str]:
    """Builds both backbones into ``folder`` as Hugging Face folders and returns the SHA-256 of their
    weights.
    """
    torch.set_num_threads(1)  # the order of sums, and so the last bits, depend on the number of threads
    sums = {}
    for name, make in (("text", text_backbone), ("image", image_backbone)):
        make(make_world(WorldConfig(), name)).save_pretrained(folder / name)
        sums[name] = sha256_of(folder / name / "model.safetensors")
    facts = {"seed": SEED, "steps": {"text": TEXT_STEPS, "image": IMAGE_STEPS}, "sha256": sums}
    atomic_write(folder / "build.json", json.dumps(facts, indent=2) + "\n")
    return sums


def compare(rebuilt: dict[str, str], folder: Path, what: str) -> int:
    """Prints for each model whether its rebuilt weights are those that ship in ``folder``, and returns an
    exit status.
    """
    same = {
        name: digest == sha256_of(folder / name / "model.safetensors") for name, digest in rebuilt.items()
    }
    for name, equal in same.items():
        print(f"{what}, {name}: {'bit-equal' if equal else 'DIFFERENT'}")
    return 0 if all(same.values()) else 1


def main() -> int:
    """Builds into the package, or with ``--check`` elsewhere and compares; the exit status says whether
    all are equal.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="build again elsewhere and compare with what ships"
    )
    if not parser.parse_args().check:
        print(json.dumps(build(), indent=2))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        rebuilt = build(Path(temporary))
    return compare(rebuilt, FOLDER, "general stage")


if __name__ == "__main__":
    sys.exit(main())
