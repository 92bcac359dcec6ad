"""What a run is made of: encoders, domains, source models (shared by all runs of a store) and the model
that is then adapted.
"""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import PartialState
from torch import nn

from transrec_core.adapters.build import build_adapter
from transrec_core.base.files import atomic_folder
from transrec_core.data.domain import Domain
from transrec_core.models.backbones import fresh_backbone, load_backbone
from transrec_core.models.item_encoder import IdEncoder
from transrec_core.models.spec import ModelSpec
from transrec_core.models.transrec import TransRec
from transrec_core.study.specs import FROM_SOURCE, RunSpec
from transrec_core.study.store import Store
from transrec_core.training.artefacts import exclusive
from transrec_core.training.checkpoints import Progress
from transrec_core.training.trainer import fit
from transrec_core.world.encoders import ASSETS, FRESH_VIT, encoder_folder, tokenizer_of
from transrec_core.world.loading import load_domain


def build_backbone(
    encoder: str, path: str, spec: ModelSpec, seed: int, image_size: int, untrained: bool
) -> nn.Module:
    """The item encoder's backbone as it is before the source stage, or with random weights.

    Args:
        encoder: its name in a specification.
        path: where its weights are.
        spec: how many of its layers are kept.
        seed: of random weights.
        image_size: of the pictures that "fresh-vit" reads.
        untrained: random weights of the same shape.
    """
    if encoder == "fresh-vit":
        return fresh_backbone({**FRESH_VIT, "image_size": image_size}, seed, spec.encoder_layers)
    backbone = load_backbone(path, spec.encoder_layers)
    if untrained:
        config = backbone.config.to_diff_dict()  # type: ignore[union-attr,operator]
        return fresh_backbone(config, seed)
    return backbone


def domains(spec: RunSpec, data_root: Path) -> tuple[Domain, Domain]:
    """Source and target domain of a run.

    Args:
        spec: the run.
        data_root: where relative dataset folders start.
    """
    tokenizer = (
        tokenizer_of(spec.encoder) if spec.target.modality == "text" and not spec.target.is_world else None
    )
    return load_domain(spec.source.data, data_root, tokenizer), load_domain(spec.target, data_root, tokenizer)


def initial_model(spec: RunSpec, store: Store, data_root: Path, untrained: bool = False) -> TransRec:
    """The weights that the source stage, and the no-source control, start from.

    Args:
        spec: the run.
        store: where encoders that are built here are kept.
        data_root: where the data of these encoders are.
        untrained: random weights in the backbone as well.

    Raises:
        UserError: if the encoder can't be loaded, or can't have the adapter that is trained afterwards.
    """
    seed, data = spec.source.seed, spec.source.data
    path = encoder_folder(spec.encoder, data.modality, store.root, data_root)
    backbone = build_backbone(spec.encoder, path, spec.model, seed, data.image_size, untrained)
    model = TransRec.from_backbone(backbone, spec.model, seed)
    if spec.adapter is not None:
        with torch.random.fork_rng(devices=[]):
            build_adapter(model.sites(), spec.adapter)
    return model


def source_model(spec: RunSpec, store: Store, data_root: Path, show_progress: bool = False) -> TransRec:
    """The pretrained source model of a run: shipped, stored, or trained now (once, also when two processes
    ask).

    Args:
        spec: the run.
        store: where source models are kept.
        data_root: where relative dataset folders start.
        show_progress: a bar while it is trained.
    """
    name = spec.source_id()
    shipped, folder = ASSETS / "source" / name, store.root / "sources" / name
    if (shipped / "config.json").is_file():
        return TransRec.from_pretrained(shipped)
    with exclusive(folder):
        if not (folder / "config.json").is_file():
            train_source(spec, folder, store, data_root, show_progress)
    return TransRec.from_pretrained(folder)


def train_source(
    spec: RunSpec, folder: Path, store: Store, data_root: Path, show_progress: bool = False
) -> Progress:
    """Runs the source stage of a specification and saves the model; resumes if it was killed before.

    Args:
        spec: the run.
        folder: where the model goes, in one step.
        store: where encoders that are built here are kept.
        data_root: where relative dataset folders start.
        show_progress: a bar.
    """
    domain, _ = domains(spec, data_root)
    model = initial_model(spec, store, data_root)
    checkpoint = folder.parent / f"{folder.name}.checkpoint.safetensors"
    progress = fit(model, domain, spec.source.training, spec.source.seed, checkpoint, show_progress)
    if not PartialState().is_main_process:  # all have the same weights; one writes
        return progress
    provenance = {
        "source": spec.source.data.folder,
        "data": domain.fingerprint()[:16],
        "encoder": spec.encoder,
        "seed": spec.source.seed,
        "objective": spec.model.objective,
        "best step": progress.best_step,
        "steps": progress.step,
        "validation HR@10": round(max(h["HR@10"] for h in progress.history), 4),
        "torch": torch.__version__,
    }
    with atomic_folder(folder) as new:  # without its items: those of the target will count
        model.cpu().save_pretrained(new, provenance, with_items=False)
    checkpoint.unlink(missing_ok=True)
    return progress


def build_model(
    spec: RunSpec, store: Store, data_root: Path, target: Domain, show_progress: bool = False
) -> TransRec:
    """The model of a run before adaptation, with ``requires_grad`` set on exactly what its strategy trains.

    Args:
        spec: the run.
        store: where source models are kept.
        data_root: where relative dataset folders start.
        target: the domain, for the number of its items.
        show_progress: a bar while a source model is trained.
    """
    if spec.strategy == "item_id":
        torch.manual_seed(spec.seed)
        return TransRec(IdEncoder(target.catalog.n_items, spec.model.dim), spec.model)
    if spec.strategy in FROM_SOURCE:
        model = source_model(spec, store, data_root, show_progress)
    else:
        model = initial_model(spec, store, data_root, untrained=spec.strategy == "untrained")
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
