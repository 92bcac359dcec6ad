"""TransRec: item content in, next item out; no item IDs anywhere, so it can move from one domain to another.

    title or picture ─► item encoder ─► item vector v_i ∈ R^d ─┐
    v_1 .. v_t ─► SASRec ─► user vector u_t ∈ R^d ─────────────┴─► score u_t · v_i

Both objectives train the same network. SASRec predicts the next item at every position, CPC only at the last
one (Oord et al. 2018, https://arxiv.org/abs/1807.03748, in the form of the TransRec papers).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site, encoder_sites
from transrec_core.adapters.mixin import AdapterMixin
from transrec_core.adapters.weights import save_tensors
from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write
from transrec_core.data.batching import Batch
from transrec_core.data.catalog import Catalog, Parts
from transrec_core.models.backbones import fresh_backbone
from transrec_core.models.item_encoder import IdEncoder, ItemEncoder
from transrec_core.models.spec import ModelSpec
from transrec_core.models.user_encoder import SASRec

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class TransRec(nn.Module, AdapterMixin):
    """Item encoder and user encoder.

    Args:
        item_encoder: an :class:`ItemEncoder` or :class:`IdEncoder`.
        spec: shape and objective.
    """

    def __init__(self, item_encoder: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        if spec.dim % spec.heads:
            raise UserError(f"model.dim={spec.dim} is not a multiple of model.heads={spec.heads}")
        self.spec = spec
        self.item_encoder = item_encoder
        self.user_encoder = SASRec(
            spec.dim, spec.blocks, spec.heads, spec.max_len, spec.dropout, spec.user_activation, spec.norm_eps
        )
        self._init_adapters()

    @classmethod
    def from_backbone(cls, backbone: nn.Module, spec: ModelSpec, seed: int) -> TransRec:
        """A TransRec whose head and user encoder are drawn from ``seed``, around a given backbone."""
        torch.manual_seed(seed)
        return cls(ItemEncoder(backbone, spec.dim, spec.pooling, spec.item_activation), spec)

    def sites(self) -> list[Site]:
        found = []
        if isinstance(self.item_encoder, ItemEncoder):
            config: Any = self.item_encoder.backbone.config
            found += encoder_sites(
                self.item_encoder.backbone,
                config.model_type,
                "item_encoder.backbone",
                "item",
                config.hidden_size,
            )
        found += encoder_sites(self.user_encoder, "sasrec", "user_encoder", "user", self.spec.dim)
        for encoder in ("item", "user"):
            first = next((site for site in found if site.encoder == encoder), None)
            for role, name in (("states", "states"), ("readout", "readout"), ("head", "projection")):
                path = f"{encoder}_encoder.{name}"
                if first is not None and not (encoder == "user" and role == "head"):
                    found.append(
                        Site(path, self.get_submodule(path), role, encoder, first.width, first.n_layers)
                    )
        return found

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

    def backbone_is_fixed(self) -> bool:
        """Whether the pooled states of the backbone can't change in training, so that they can be computed
        once.
        """
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
        frozen = 0  # the embeddings come first
        for path, module in self.item_encoder.levels():
            within = f"item_encoder.backbone.{path}" + ("." if frozen else "")
            if self.acts_on(within) or any(p.requires_grad for p in module.parameters()):
                break
            frozen += 1
        return max(0, frozen - 1)

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation mode. In training mode, layers that can't change stay in evaluation mode:
        their output is one and the same at each step (no dropout), whether it is computed again or was
        kept.
        """
        super().train(mode)
        frozen = self.frozen_layers() if mode else 0
        if frozen and isinstance(self.item_encoder, ItemEncoder):
            for _, module in self.item_encoder.levels()[: 1 + frozen]:
                module.eval()
        return self

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """The pretrained weights of the item encoder, in a fixed order (none for item IDs)."""
        return (
            self.item_encoder.backbone.parameters()
            if isinstance(self.item_encoder, ItemEncoder)
            else iter(())
        )

    def reads_every_layer(self, encoder: str) -> bool:
        """Whether an active adapter reads all layers of ``encoder`` ("item" or "user")."""
        return self.acts_on(f"{encoder}_encoder.states", f"{encoder}_encoder.readout")

    def encode_items(self, features: Mapping[str, Any] | Parts) -> Tensor:
        """Content of k items -> item vectors [k, d].

        ``{"pooled": ...}``, as :meth:`pooled_catalogue` gives it, skips the backbone; ``{"states": ...}`` its
        bottom layers (:class:`ItemEncoder`).
        """
        if isinstance(features, Parts):
            return features.joined([self.encode_items(part) for part in features.features])
        if "pooled" in features:
            assert isinstance(self.item_encoder, ItemEncoder)
            return self.item_encoder.head(features["pooled"])
        vectors: Tensor = self.item_encoder(features, self.reads_every_layer("item"))
        return vectors

    def encode_users(self, items: Tensor) -> Tensor:
        """Item vectors in time order, right-padded [B, L, d] -> user vectors at each position [B, L, d]."""
        out: Tensor = self.user_encoder(items, self.reads_every_layer("user"))
        return out

    def forward(self, features: Mapping[str, Any] | Parts, batch: Batch) -> Tensor:
        """The mean loss of a batch (see :class:`Batch`), each of its items encoded once."""
        return self.loss(self.encode_items(features), batch)

    def loss(self, vectors: Tensor, batch: Batch) -> Tensor:
        """The mean loss of a batch from the vectors of its items [k, d].

        Softmax: cross-entropy of the next item among the candidates, with the user's own other items left out
        and, where the candidates are a sample, their scores corrected by -log q (Yi et al. 2019, equation 3).
        BCE: the paper's loss, one sampled negative for each position (SASRec, equation 7).
        """
        users = self.encode_users(vectors[batch.inputs])  # [B, L, d]
        rows, columns = batch.rows, batch.columns
        states = users[rows, columns]  # [M, d]
        if batch.negatives is not None:
            positive = (states * vectors[batch.targets]).sum(-1)
            negative = (states * vectors[batch.negatives]).sum(-1)
            return F.softplus(-positive).mean() + F.softplus(negative).mean()
        logits = states @ vectors.T  # [M, k]
        if batch.log_q is not None:
            logits = logits - batch.log_q
        assert batch.own is not None
        hidden = batch.own[rows]
        hidden[torch.arange(len(rows), device=hidden.device), batch.targets] = False
        return F.cross_entropy(logits.masked_fill(hidden, float("-inf")), batch.targets)

    @torch.no_grad()
    def catalogue(self, catalog: Catalog, block: int = 512) -> Tensor:
        """Vectors of all items [items + 1, d], row 0 (padding) zero; items are encoded in blocks, in
        evaluation mode.
        """
        return self._over_items(catalog, block, self.encode_items)

    @torch.no_grad()
    def pooled_catalogue(self, catalog: Catalog, block: int = 512) -> Tensor:
        """Pooled backbone states of all items [items + 1, H], row 0 zero: what a fixed backbone needs to
        compute once.

        If an active adapter reads all layers: [items + 1, layers + 1, H].
        """
        assert isinstance(self.item_encoder, ItemEncoder)
        return self._over_items(
            catalog, block, partial(self.item_encoder.pooled, every_layer=self.reads_every_layer("item"))
        )

    def _over_items(self, catalog: Catalog, block: int, encode: Any) -> Tensor:
        device = next(self.parameters()).device
        training = self.training
        self.eval()
        items = torch.arange(1, catalog.n_items + 1)
        lengths = getattr(catalog, "lengths", None)
        if (
            lengths is not None and len(items) > block
        ):  # items of like length together, so that little is padded
            items = items[torch.from_numpy(np.argsort(lengths[1:], kind="stable"))]
        parts = [
            encode({k: v.to(device) for k, v in catalog.batch(some).items()}).float()
            for some in items.split(block)
        ]
        self.train(training)
        found = torch.cat([torch.zeros_like(parts[0][:1]), *parts])
        return found[torch.cat([torch.zeros(1, dtype=torch.long), 1 + items.argsort()]).to(device)]

    def save_pretrained(self, folder: str | Path, provenance: dict[str, Any] | None = None) -> None:
        """Writes the base model: ``model.safetensors``, ``config.json`` and a model card ``README.md``.

        Args:
            folder: where to.
            provenance: what the card says about the origin (data, seed, versions).
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v for k, v in self.state_dict().items() if not k.startswith("adapters.")}
        save_tensors(folder / WEIGHTS_FILE, state, {"format": "pt"})
        encoder = self.item_encoder
        if isinstance(encoder, ItemEncoder):
            backbone: dict[str, Any] = encoder.backbone.config.to_diff_dict()  # type: ignore[union-attr,operator]
        else:
            backbone = {"model_type": "id", "n_items": encoder.embedding.num_embeddings - 1}  # type: ignore[union-attr,operator]
        config = {"spec": self.spec.model_dump(), "backbone": backbone, "provenance": provenance or {}}
        atomic_write(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
        lines = [f"- {key}: {value}" for key, value in (provenance or {}).items()]
        card = ["---", "library_name: transrec", "---", "", "# TransRec", "", *lines, ""]
        atomic_write(folder / "README.md", "\n".join(card))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> TransRec:
        """Reads what :meth:`save_pretrained` wrote.

        Raises:
            UserError: if a file is missing or damaged.
        """
        folder = Path(folder)
        for file in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / file).is_file():
                raise UserError(
                    f"{folder / file}: not found; {folder} is no TransRec folder (save_pretrained writes one)"
                )
        try:
            config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            spec = ModelSpec.model_validate({**config["spec"], "encoder_layers": None})
            if config["backbone"]["model_type"] == "id":
                model = cls(IdEncoder(config["backbone"]["n_items"], spec.dim), spec)
            else:
                model = cls(
                    ItemEncoder(
                        fresh_backbone(config["backbone"]), spec.dim, spec.pooling, spec.item_activation
                    ),
                    spec,
                )
            with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
                model.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
        except (ValidationError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{folder}: damaged model ({reason}); save or build it again") from None
        return model
