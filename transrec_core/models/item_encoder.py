"""Item encoders: a title or a picture becomes one vector of size d (or, as a baseline, the item's ID does).

Titles go through a BERT/RoBERTa-like encoder, pictures through a ViT-like one. One linear map, the *head*,
takes the pooled state to the size of the user encoder. Where the bottom layers can't change in training, the
states behind them can be kept (:meth:`ItemEncoder.states_after`), and a step starts from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from transrec_core.adapters.anatomy import levels
from transrec_core.adapters.base import Trace
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
        self._layers_return_tuples: bool | None = None  # not yet known

    def levels(self) -> list[tuple[str, nn.Module]]:
        """The backbone's embeddings and then its layers, from the bottom, each as (path, module).

        Returns:
            Nothing for a backbone whose family has no entry in ``ANATOMY``.
        """
        config: Any = self.backbone.config
        return levels(self.backbone, config.model_type)

    def layers(self) -> list[nn.Module]:
        """The backbone's transformer layers, from the bottom; none if they are not known."""
        return [module for _, module in self.levels()[1:]]

    def states_after(self, n: int, features: Mapping[str, Any]) -> Tensor:
        """Token or patch states after the n bottom layers; the layers above are not run.

        Args:
            n: at least 1.
            features: content of k items, see ``Catalog.batch``.

        Returns:
            What layer n + 1 reads, [k, T, H].
        """
        output = self._output_of_layer(n, features)
        states: Tensor = output[0] if isinstance(output, tuple) else output
        return states

    def _output_of_layer(self, n: int, features: Mapping[str, Any]) -> Any:
        # States, or in some families (MPNet) a tuple that begins with them; the layers above pass them on.
        layers, outputs = self.layers(), list[Any]()
        handle = layers[n - 1].register_forward_hook(lambda module, args, output: outputs.append(output))
        try:
            with _instead([(layer, lambda *args, **kwargs: outputs[0]) for layer in layers[n:]]):
                self.backbone(**features)
        finally:
            handle.remove()
        return outputs[0]

    def _from_states(self, states: Tensor, n: int, mask: Tensor | None) -> Tensor:
        # The backbone is called as ever, on content that nobody reads; each of its n bottom layers returns
        # the given states. So the layer above reads these and nothing else, whatever a family does between
        # embeddings and layers (CLIP: a norm).
        (_, embeddings), *layers = self.levels()
        content = self._blank(states, mask)
        if self._layers_return_tuples is None:
            with torch.no_grad():  # seen once, on one item
                one = {key: None if value is None else value[:1] for key, value in content.items()}
                self._layers_return_tuples = isinstance(self._output_of_layer(1, one), tuple)
        output = (states,) if self._layers_return_tuples else states
        config: Any = self.backbone.config
        embedded = states[..., : getattr(config, "embedding_size", None)]  # ELECTRA's are narrower
        with _instead(
            [
                (embeddings, lambda *args, **kwargs: embedded),
                *((layer, lambda *args, **kwargs: output) for _, layer in layers[:n]),
            ]
        ):
            last: Tensor = self.backbone(**content).last_hidden_state
        return last

    def _blank(self, states: Tensor, mask: Tensor | None) -> dict[str, Any]:
        """Content of the shape that gives states [k, T, H]: blank titles, or one blank picture for all."""
        config: Any = self.backbone.config
        if getattr(self.backbone, "main_input_name", "input_ids") == "pixel_values":
            size = config.image_size
            height, width = (size, size) if isinstance(size, int) else size
            return {"pixel_values": states.new_zeros(1, config.num_channels, height, width)}
        tokens = torch.zeros(states.shape[:2], dtype=torch.long, device=states.device)
        return {"input_ids": tokens, "attention_mask": mask}

    def pooled(self, features: Mapping[str, Any], every_layer: bool = False) -> Tensor:
        """Features of k items (see ``Catalog.batch``) -> pooled backbone states.

        Args:
            features: content; or ``{"states": [k, T, H], "below": n, "attention_mask": [k, T]}``, to go on
                from the states after the n bottom layers.
            every_layer: give the states of all layers, the first of which is the embeddings, and let adapters
                act that read the tokens of all layers.

        Returns:
            [k, H], or with ``every_layer`` [k, layers + 1, H].
        """
        mask = features.get("attention_mask")
        if "states" in features:
            return self._pool(self._from_states(features["states"], features["below"], mask), mask)
        if not every_layer:
            return self._pool(self.backbone(**features).last_hidden_state, mask)
        out = self.backbone(**features, output_hidden_states=True)
        last = self.states(Trace(out.hidden_states, out.last_hidden_state, mask, False))
        return torch.stack([self._pool(state, mask) for state in (*out.hidden_states[:-1], last)], 1)

    def _pool(self, states: Tensor, mask: Tensor | None) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0]
        if mask is None:
            return states.mean(1)
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)

    def head(self, pooled: Tensor) -> Tensor:
        """Pooled states, [k, H] or [k, layers + 1, H] -> item vectors [k, d]."""
        out: Tensor = self.activation(self.projection(self.readout(pooled, pooled.dim() == 3)))
        return out

    def forward(self, features: Mapping[str, Any], every_layer: bool = False) -> Tensor:
        """Features of k items, as in :meth:`pooled` -> item vectors [k, d]."""
        return self.head(self.pooled(features, every_layer))


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
    """The baseline that reads no content: one learned vector for each item number.

    Parameters: (items + 1) d.

    Args:
        n_items: number of items, padding not counted.
        dim: size d of the item vector.
    """

    def __init__(self, n_items: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_items + 1, dim)
        nn.init.normal_(self.embedding.weight, std=1.0)

    def forward(self, features: Mapping[str, Any], every_layer: bool = False) -> Tensor:
        """``{"ids": item numbers [k]}`` -> item vectors [k, d]."""
        out: Tensor = self.embedding(features["ids"])
        return out
