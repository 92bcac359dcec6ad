"""Item encoders: a title or a picture becomes one vector of size d (or, as a baseline, the item's ID does).

Titles go through a BERT/RoBERTa-like encoder, pictures through a ViT-like one (weights of a ViT-MAE encoder
are read as a ViT: the masking belongs to pretraining). One linear map, the *head*, takes the pooled state to
the size of the user encoder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, ViTModel
from transformers.utils import logging as hf_logging

from transrec_core.adapters.anatomy import ANATOMY
from transrec_core.adapters.base import Trace
from transrec_core.base.errors import UserError
from transrec_core.models.user_encoder import LastStates, Readout


class ItemEncoder(nn.Module):
    """Backbone, pooling and head.

    Args:
        backbone: a Hugging Face encoder whose output has ``last_hidden_state`` [k, T, H].
        dim: size d of the item vector.
        pooling: "mean" over tokens or patches (padding left out), or "cls", the first one's state.
        activation: "none" or "gelu", on the item vector.
    """

    def __init__(self, backbone: nn.Module, dim: int, pooling: str, activation: str = "none") -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        config: Any = backbone.config
        self.states, self.readout = LastStates(), Readout()
        self.projection = nn.Linear(config.hidden_size, dim)
        self.activation = nn.GELU() if activation == "gelu" else nn.Identity()
        nn.init.normal_(self.projection.weight, std=config.hidden_size**-0.5)
        nn.init.zeros_(self.projection.bias)

    def _pool(self, states: Tensor, mask: Tensor | None) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0]
        if mask is None:
            return states.mean(1)
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)

    def layers(self) -> list[nn.Module]:
        """The backbone's transformer layers, from the bottom."""
        config: Any = self.backbone.config
        return list(self.backbone.get_submodule(ANATOMY[config.model_type].layers).children())

    def states_after(self, n: int, features: Mapping[str, Any]) -> Tensor:
        """Features of k items -> token or patch states after the n bottom layers [k, T, H]; the layers
        above are not run.
        """
        found: list[Tensor] = []
        layers = self.layers()
        handle = layers[n - 1].register_forward_hook(lambda module, args, out: found.append(out))
        try:
            with _instead([(layer, _pass_on) for layer in layers[n:]]):
                self.backbone(**features)
        finally:
            handle.remove()
        return found[0]

    def _from_states(self, states: Tensor, n: int, mask: Tensor | None) -> Tensor:
        # The backbone is called as ever, but its embeddings hand out the given states and its n bottom layers
        # pass them on.
        config: Any = self.backbone.config
        embeddings = self.backbone.get_submodule(ANATOMY[config.model_type].embeddings)
        shape: dict[str, Any]  # of the content, which nobody reads
        if hasattr(config, "image_size"):
            shape = {"pixel_values": states.new_zeros(1, 1, config.image_size, config.image_size)}
        else:
            shape = {
                "input_ids": torch.zeros(states.shape[:2], dtype=torch.long, device=states.device),
                "attention_mask": mask,
            }
        with _instead(
            [
                (embeddings, lambda *args, **kwargs: states),
                *((layer, _pass_on) for layer in self.layers()[:n]),
            ]
        ):
            last: Tensor = self.backbone(**shape).last_hidden_state
        return last

    def pooled(self, features: Mapping[str, Any], every_layer: bool = False) -> Tensor:
        """Features of k items (see ``Catalog.batch``) -> pooled backbone states [k, H], or of every layer [k,
        layers + 1, H].

        The first of the layers is the embeddings. ``every_layer`` also lets adapters act that read the tokens
        of all layers. Features ``{"states": [k, T, H], "below": n, "attention_mask"}`` go on from the states
        after the n bottom layers.
        """
        mask = features.get("attention_mask")
        if "states" in features:
            return self._pool(self._from_states(features["states"], features["below"], mask), mask)
        if not every_layer:
            return self._pool(self.backbone(**features).last_hidden_state, mask)
        out = self.backbone(**features, output_hidden_states=True)
        last = self.states(Trace(out.hidden_states, out.last_hidden_state, mask, False))
        return torch.stack([self._pool(state, mask) for state in (*out.hidden_states[:-1], last)], 1)

    def head(self, pooled: Tensor) -> Tensor:
        """Pooled states, [k, H] or [k, layers + 1, H] -> item vectors [k, d]."""
        out: Tensor = self.activation(self.projection(self.readout(pooled, pooled.dim() == 3)))
        return out

    def forward(self, features: Mapping[str, Any], every_layer: bool = False) -> Tensor:
        return self.head(self.pooled(features, every_layer))


def _pass_on(hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return hidden


@contextmanager
def _instead(pairs: list[tuple[nn.Module, Callable[..., Any]]]) -> Iterator[None]:
    """Within the block these functions are called in place of the modules' own ``forward``; no module is
    moved or changed.
    """
    try:
        for module, function in pairs:
            module.forward = function
        yield
    finally:
        for module, _ in pairs:
            vars(module).pop("forward", None)  # the class's own comes to light again


class IdEncoder(nn.Module):
    """The baseline that reads no content: one learned vector for each item number. Parameters: (items + 1)
    d.
    """

    def __init__(self, n_items: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_items + 1, dim)
        nn.init.normal_(self.embedding.weight, std=1.0)

    def forward(self, features: Mapping[str, Any], every_layer: bool = False) -> Tensor:
        out: Tensor = self.embedding(features["ids"])
        return out


def _backbone_class(config: PretrainedConfig) -> Any:
    return ViTModel if config.model_type in ("vit", "vit_mae") else AutoModel


def _no_pooler(config: PretrainedConfig) -> dict[str, bool]:
    """The pooler is never used; families without one do not know the argument."""
    return (
        {"add_pooling_layer": False}
        if config.model_type in ("bert", "roberta", "vit", "vit_mae", "beit")
        else {}
    )


def load_backbone(name: str, layers: int | None = None) -> nn.Module:
    """Loads pretrained encoder weights from a folder or a hub name.

    Args:
        name: a folder with config.json and weights, or a name on the Hugging Face hub.
        layers: keep only this many layers from the bottom.

    Raises:
        UserError: if nothing can be loaded from there.
    """
    verbosity = hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()  # the report on the pooler, which is left out on purpose, is no news
    try:
        config = AutoConfig.from_pretrained(name)
        backbone = _backbone_class(config).from_pretrained(name, config=config, **_no_pooler(config))
    except (OSError, ValueError) as error:
        where = "folder" if Path(name).exists() or os.sep in name else "hub name"
        raise UserError(
            f"can't load an encoder from {where} '{name}': {str(error).splitlines()[0]}"
        ) from None
    finally:
        hf_logging.set_verbosity(verbosity)
    return keep_layers(backbone, layers)


def fresh_backbone(config: dict[str, Any], seed: int | None = None) -> nn.Module:
    """An encoder with random weights from a configuration dictionary (``model_type`` and its fields)."""
    fields = dict(config)
    family = fields.pop("model_type")
    try:
        full = AutoConfig.for_model(family, **fields)
    except ValueError as error:
        raise UserError(f"unknown encoder family '{family}': {str(error).splitlines()[0]}") from None
    if seed is not None:
        torch.manual_seed(seed)
    cls = _backbone_class(full)
    build = AutoModel.from_config if cls is AutoModel else cls
    model: nn.Module = build(full, **_no_pooler(full))
    return model


def keep_layers(backbone: nn.Module, layers: int | None) -> nn.Module:
    """Cuts an encoder down to its first ``layers`` layers, in place.

    Raises:
        UserError: if it has fewer.
    """
    if layers is None:
        return backbone
    config: Any = backbone.config
    if not 1 <= layers <= config.num_hidden_layers:
        raise UserError(f"encoder_layers={layers}: the encoder has {config.num_hidden_layers} layers")
    path = ANATOMY[config.model_type].layers
    parent, _, name = path.rpartition(".")
    owner = backbone.get_submodule(parent)
    setattr(owner, name, backbone.get_submodule(path)[:layers])  # type: ignore[index]
    config.num_hidden_layers = layers
    return backbone
