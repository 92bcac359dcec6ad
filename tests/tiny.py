"""Very small domains and models for tests, with everything drawn from a seed."""

from __future__ import annotations

import numpy as np
import torch

from transrec_core.data.catalog import IdCatalog, ImageCatalog, TextCatalog
from transrec_core.data.domain import Domain
from transrec_core.data.interactions import Interactions
from transrec_core.models import ModelSpec, TransRec, fresh_backbone

ITEMS, USERS = 40, 60

_LAYERS = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
_TITLES = _LAYERS | {"vocab_size": 50, "max_position_embeddings": 16}
_PICTURES = _LAYERS | {"image_size": 16, "patch_size": 8}

#: A very small encoder of each family that has an anatomy; all laws run on them. A new family is one row.
BACKBONES = {
    "bert": _TITLES | {"model_type": "bert"},
    "roberta": _TITLES | {"model_type": "roberta", "pad_token_id": 0},
    "vit": _PICTURES | {"model_type": "vit"},
    "distilbert": {
        "model_type": "distilbert",
        "vocab_size": 50,
        "dim": 16,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 32,
        "max_position_embeddings": 16,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    },
    "vit_mae": _PICTURES | {"model_type": "vit_mae"},
    "beit": _PICTURES | {"model_type": "beit", "drop_path_rate": 0.0, "layer_scale_init_value": 0.5},
}
#: Families without one: they are loaded, cut, saved and trained as a whole all the same.
STRANGERS = {
    "mpnet": _TITLES | {"model_type": "mpnet", "max_position_embeddings": 20, "pad_token_id": 0},
    "electra": _TITLES | {"model_type": "electra", "embedding_size": 8},
    "modernbert": _TITLES
    | {"model_type": "modernbert"}
    | {f"{token}_token_id": 0 for token in ("pad", "bos", "eos", "cls", "sep")},
    "clip_vision_model": _PICTURES | {"model_type": "clip_vision_model"},
    "dinov2": _PICTURES | {"model_type": "dinov2", "mlp_ratio": 2, "layerscale_value": 0.5},
}
MODALITY = {
    family: "image" if "image_size" in config else "text"
    for family, config in (STRANGERS | BACKBONES).items()
}


def catalog(modality: str, items: int = ITEMS, seed: int = 0):
    rng = np.random.default_rng(seed)
    if modality == "id":
        return IdCatalog(items)
    if modality == "image":
        pixels = rng.integers(0, 256, (items + 1, 3, 16, 16), dtype=np.uint8)
        return ImageCatalog(pixels, 0.5, 0.5)
    lengths = rng.integers(4, 9, items + 1).astype(np.int32)
    tokens = rng.integers(5, 50, (items + 1, 8)).astype(np.int32)
    tokens[np.arange(8) >= lengths[:, None]] = 0
    return TextCatalog(tokens, lengths, 0, None)


def interactions(items: int = ITEMS, users: int = USERS, seed: int = 0) -> Interactions:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(np.arange(1, items + 1))[: rng.integers(5, 12)].tolist() for _ in range(users)]
    return Interactions.from_lists(lists, items)


def domain(modality: str, seed: int = 0) -> Domain:
    return Domain(
        "tiny", catalog(modality, seed=seed), interactions(seed=seed), extra=interactions(seed=seed + 1)
    )


def model(family: str = "bert", objective: str = "sasrec", pooling: str = "cls", seed: int = 0) -> TransRec:
    spec = ModelSpec(objective=objective, dim=16, max_len=10, pooling=pooling, dropout=0.0)
    torch.manual_seed(seed)
    return TransRec.from_backbone(fresh_backbone((STRANGERS | BACKBONES)[family], seed), spec, seed)


def stir(module: torch.nn.Module, seed: int = 1, std: float = 0.3) -> None:
    """Moves every parameter at random, so that nothing is at a special starting value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += std * torch.randn(parameter.shape, generator=generator)
