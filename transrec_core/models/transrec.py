"""TransRec: item content in, next item out; no item IDs anywhere, so it can move from one domain to another.

    title or picture ─► item encoder ─► item vector v_i ∈ R^d ─┐
    v_1 .. v_t ─► SASRec ─► user vector u_t ∈ R^d ─────────────┴─► score u_t · v_i

Both objectives train the same network. SASRec predicts the next item at every position, CPC only at the last
one (Oord et al. 2018, https://arxiv.org/abs/1807.03748, in the form of the TransRec papers).

Here is what it computes. What trains and what stays is in ``roles.py``, recommending in ids in
``recommend.py``, folders in ``files.py``, adapters in ``adapters/mixin.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site, encoder_sites
from transrec_core.base.config import first_problem
from transrec_core.base.errors import UserError
from transrec_core.data.batching import Batch
from transrec_core.data.catalog import Catalog
from transrec_core.data.parts import Parts
from transrec_core.data.reading import reader_beside
from transrec_core.models.backbones import fresh_backbone, load_backbone
from transrec_core.models.files import Saved
from transrec_core.models.item_encoder import IdEncoder, ItemEncoder
from transrec_core.models.recommend import Recommender
from transrec_core.models.spec import ModelSpec
from transrec_core.models.user_encoder import SASRec


class TransRec(Recommender, Saved):
    """Item encoder and user encoder.

    Args:
        item_encoder: an :class:`ItemEncoder` or :class:`IdEncoder`.
        spec: shape and objective.

    Attributes:
        known: the items that it recommends, once it was fitted or told (``remember``).
        reader: how it reads titles or pictures of new items.

    Raises:
        UserError: if ``dim`` is not a multiple of ``heads``.
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
        self.known = self.reader = self._vectors = None
        self._init_adapters()

    @classmethod
    def from_backbone(cls, backbone: nn.Module, spec: ModelSpec, seed: int) -> Self:
        """A TransRec whose head and user encoder are new, around a given backbone.

        Args:
            backbone: a Hugging Face encoder (:func:`load_backbone`).
            spec: shape and objective.
            seed: of the new weights.
        """
        torch.manual_seed(seed)
        return cls(ItemEncoder(backbone, spec.dim, spec.pooling, spec.item_activation), spec)

    @classmethod
    def from_encoder(cls, encoder: str | Path, dim: int = 64, seed: int = 0, **fields: Any) -> Self:
        """A TransRec around a pretrained encoder, with how it reads titles or pictures.

        Args:
            encoder: folder or hub name of a Hugging Face encoder.
            dim: size d of item and user vectors.
            seed: of the head and the user encoder, which are new.
            fields: more of :class:`ModelSpec`: ``objective``, ``max_len``, ``pooling`` ...

        Raises:
            UserError: if nothing can be loaded from there, or a field is unknown or not fit.
        """
        try:
            spec = ModelSpec(dim=dim, **fields)
        except ValidationError as error:
            raise UserError(f"from_encoder: {first_problem(error)}") from None
        backbone = load_backbone(str(encoder), spec.encoder_layers)
        model = cls.from_backbone(backbone, spec, seed)
        model.reader = reader_beside(str(encoder), backbone.config)
        return model

    @classmethod
    def _fresh(cls, backbone: dict[str, Any], spec: ModelSpec) -> Self:
        if backbone["model_type"] == "id":
            return cls(IdEncoder(backbone["n_items"], spec.dim), spec)
        encoder = ItemEncoder(fresh_backbone(backbone), spec.dim, spec.pooling, spec.item_activation)
        return cls(encoder, spec)

    def sites(self) -> list[Site]:
        """Every module that an adapter can act on: of the backbone, of the user encoder, and the heads."""
        sites = []
        if isinstance(self.item_encoder, ItemEncoder):
            backbone = self.item_encoder.backbone
            config: Any = backbone.config
            sites += encoder_sites(
                backbone, config.model_type, "item_encoder.backbone", "item", config.hidden_size
            )
        sites += encoder_sites(self.user_encoder, "sasrec", "user_encoder", "user", self.spec.dim)
        for encoder in ("item", "user"):
            first = next((site for site in sites if site.encoder == encoder), None)
            for role, name in (("states", "states"), ("readout", "readout"), ("head", "projection")):
                path = f"{encoder}_encoder.{name}"
                if first is not None and not (encoder == "user" and role == "head"):
                    sites.append(
                        Site(path, self.get_submodule(path), role, encoder, first.width, first.n_layers)
                    )
        return sites

    def encode_items(self, features: Mapping[str, Any] | Parts) -> Tensor:
        """Content of k items -> item vectors [k, d].

        Args:
            features: of the items, as ``Catalog.batch`` gives them. ``{"pooled": ...}``, as
                :meth:`pooled_catalogue` gives it, skips the backbone; ``{"states": ...}`` its bottom layers
                (:class:`ItemEncoder`).
        """
        if isinstance(features, Parts):
            return features.joined([self.encode_items(part) for part in features.features])
        if "pooled" in features:
            assert isinstance(self.item_encoder, ItemEncoder)
            return self.item_encoder.head(features["pooled"])
        vectors: Tensor = self.item_encoder(features, self.reads_every_layer("item"))
        return vectors

    def encode_users(self, items: Tensor) -> Tensor:
        """Item vectors in time order -> user vectors at each position [B, L, d].

        Args:
            items: [B, L, d], padded on the right.
        """
        out: Tensor = self.user_encoder(items, self.reads_every_layer("user"))
        return out

    def user_vectors(self, histories: np.ndarray, vectors: Tensor) -> Tensor:
        """Histories of b users -> their vectors [b, d], those at the histories' ends.

        Args:
            histories: item numbers [b, L], oldest first, padded with 0 on the right.
            vectors: of all items [items + 1, d].
        """
        sequence = torch.from_numpy(histories).to(vectors.device)
        last = torch.from_numpy((histories > 0).sum(1) - 1).to(vectors.device)
        states = self.encode_users(vectors[sequence])
        return states[torch.arange(len(histories), device=vectors.device), last]

    def forward(self, features: Mapping[str, Any] | Parts, batch: Batch) -> Tensor:
        """The mean loss of a batch (see :class:`Batch`), each of its items encoded once."""
        return self.loss(self.encode_items(features), batch)

    def loss(self, vectors: Tensor, batch: Batch) -> Tensor:
        """The mean loss of a batch.

        Softmax: cross-entropy of the next item among the candidates, with the user's own other items left out
        and, where the candidates are a sample, their scores corrected by -log q (Yi et al. 2019, equation 3).
        BCE: the paper's loss, one sampled negative for each position (SASRec, equation 7).

        Args:
            vectors: of the batch's items [k, d].
            batch: which of them is where.
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
        """Vectors of all items [items + 1, d], row 0 (padding) zero, in evaluation mode.

        Args:
            catalog: content of the items.
            block: items that are encoded at once.
        """
        return self._over_items(catalog, block, self.encode_items)

    @torch.no_grad()
    def pooled_catalogue(self, catalog: Catalog, block: int = 512) -> Tensor:
        """Pooled backbone states of all items [items + 1, H], row 0 zero: what a fixed backbone needs to
        compute once. If an active adapter reads all layers: [items + 1, layers + 1, H].

        Args:
            catalog: content of the items.
            block: items that are encoded at once.
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
        if lengths is not None and len(items) > block:  # like lengths together: little is padded
            items = items[torch.from_numpy(np.argsort(lengths[1:], kind="stable"))]
        parts = [
            encode({k: v.to(device) for k, v in catalog.batch(some).items()}).float()
            for some in items.split(block)
        ]
        self.train(training)
        states = torch.cat([torch.zeros_like(parts[0][:1]), *parts])
        return states[torch.cat([torch.zeros(1, dtype=torch.long), 1 + items.argsort()]).to(device)]
