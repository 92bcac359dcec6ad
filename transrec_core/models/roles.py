"""What of a model trains and what stays: asked by the trainer, which knows no adapter by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from torch import nn

from transrec_core.adapters.mixin import AdapterMixin
from transrec_core.models.item_encoder import ItemEncoder


class Roles(nn.Module, AdapterMixin):
    """Questions about ``requires_grad`` and about where adapters act; nothing here sets either."""

    item_encoder: nn.Module

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """What trains, by role: "encoder" (backbone or ID table), "head", "user", "adapter"."""
        groups: dict[str, list[nn.Parameter]] = {"encoder": [], "head": [], "user": [], "adapter": []}
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            if "projection" in name.replace("/", ".").split("."):
                role = "head"
            elif name.startswith("adapters."):
                role = "adapter"
            else:
                role = "user" if name.startswith("user_encoder.") else "encoder"
            groups[role].append(parameter)
        return {role: parameters for role, parameters in groups.items() if parameters}

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """The pretrained weights of the item encoder, in a fixed order (none for item IDs)."""
        encoder = self.item_encoder
        return encoder.backbone.parameters() if isinstance(encoder, ItemEncoder) else iter(())

    def reads_every_layer(self, encoder: str) -> bool:
        """Whether an active adapter reads all layers of an encoder.

        Args:
            encoder: "item" or "user".
        """
        return self.acts_on(f"{encoder}_encoder.states", f"{encoder}_encoder.readout")

    def backbone_is_fixed(self) -> bool:
        """Whether the backbone's pooled states can't change in training, so that once is enough."""
        if not isinstance(self.item_encoder, ItemEncoder):
            return False
        acted = self.acts_on("item_encoder.backbone", "item_encoder.states")
        return not acted and not any(p.requires_grad for p in self.item_encoder.backbone.parameters())

    def frozen_layers(self) -> int:
        """How many of the item encoder's layers, from the bottom, can't change in training: nothing trains or
        acts in or below them.

        0 if an adapter reads every layer, and where the layers of a backbone are not known.
        """
        if not isinstance(self.item_encoder, ItemEncoder) or self.reads_every_layer("item"):
            return 0
        frozen = 0  # the embeddings come first, and are no layer
        for path, module in self.item_encoder.levels():
            within = f"item_encoder.backbone.{path}" + ("." if frozen else "")
            if self.acts_on(within) or any(p.requires_grad for p in module.parameters()):
                break
            frozen += 1
        return max(0, frozen - 1)

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation mode.

        In training mode, layers that can't change stay in evaluation mode: their output is one and the same
        at each step (no dropout), whether it is computed again or was kept.

        Args:
            mode: True for training.
        """
        super().train(mode)
        frozen = self.frozen_layers() if mode else 0
        if frozen and isinstance(self.item_encoder, ItemEncoder):
            for _, module in self.item_encoder.levels()[: 1 + frozen]:
                module.eval()
        return self
