"""Where the parts of an encoder sit that an adapter can act on.

An adapter method asks for *roles* ("attention", "ffn", "query", ...); this table says which module plays the role in
each family of encoders. A new backbone is one entry here. Nothing else in the project knows a backbone's attribute names.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from transrec_core.errors import UserError


@dataclass(frozen=True)
class Anatomy:
    """Paths of one encoder family, relative to the encoder (``layers``) or to one of its layers (the rest).

    Attributes:
        layers: the list of transformer layers.
        attention: linear map at the end of the attention sublayer, before its residual sum.
        ffn: linear map at the end of the feed-forward sublayer, before its residual sum.
        query: query projection. key: key projection. value: value projection.
        norms: LayerNorms of a layer.
    """

    layers: str
    attention: str
    ffn: str
    query: str
    key: str
    value: str
    norms: tuple[str, ...]

    def path(self, role: str) -> str:
        return str(getattr(self, role))


_BERT = Anatomy(
    layers="encoder.layer",
    attention="attention.output.dense",
    ffn="output.dense",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
)
_VIT = Anatomy(
    layers="layers",
    attention="attention.o_proj",
    ffn="mlp.fc2",
    query="attention.q_proj",
    key="attention.k_proj",
    value="attention.v_proj",
    norms=("layernorm_before", "layernorm_after"),
)
_SASREC = Anatomy(
    layers="blocks",
    attention="attention.output",
    ffn="ffn.output",
    query="attention.query",
    key="attention.key",
    value="attention.value",
    norms=("attention_norm", "ffn_norm"),
)

#: ``config.model_type`` of an encoder -> its anatomy. ViT-MAE weights are loaded into a ViTModel, hence the same anatomy.
ANATOMY: dict[str, Anatomy] = {"bert": _BERT, "roberta": _BERT, "vit": _VIT, "vit_mae": _VIT, "sasrec": _SASREC}

ROLES = ("attention", "ffn", "query", "key", "value")


@dataclass(frozen=True)
class Site:
    """One module that an adapter can act on.

    Attributes:
        path: where it sits, from the model's root ("item_encoder.backbone.encoder.layer.0.output.dense").
        module: the pretrained module itself, which stays where it is.
        role: what it does in its layer (one of :data:`ROLES`, "norm", or "head").
        encoder: "item" or "user".
        layer: index of its layer from the bottom; -1 for a part outside the layers.
    """

    path: str
    module: nn.Module
    role: str
    encoder: str
    layer: int


def layer_sites(encoder: nn.Module, model_type: str, prefix: str, name: str) -> list[Site]:
    """All sites inside the layers of one encoder.

    Args:
        encoder: the backbone or user encoder.
        model_type: its family, a key of :data:`ANATOMY`.
        prefix: path of ``encoder`` from the model's root.
        name: "item" or "user".

    Raises:
        UserError: if the family has no entry, or the entry does not fit the module (with the module tree to read it from).
    """
    if model_type not in ANATOMY:
        raise UserError(
            f"no anatomy for encoder type '{model_type}' (known: {', '.join(sorted(ANATOMY))}): add an entry to "
            f"transrec_core/adapters/anatomy.py; the module tree is\n{encoder}"
        )
    anatomy = ANATOMY[model_type]
    found = []
    try:
        layers = encoder.get_submodule(anatomy.layers)
        for index, layer in enumerate(layers.children()):
            base = f"{prefix}.{anatomy.layers}.{index}"
            for role in ROLES:
                path = anatomy.path(role)
                found.append(Site(f"{base}.{path}", layer.get_submodule(path), role, name, index))
            for path in anatomy.norms:
                found.append(Site(f"{base}.{path}", layer.get_submodule(path), "norm", name, index))
    except AttributeError as error:
        raise UserError(
            f"the anatomy of '{model_type}' does not fit this module ({error}); mend its entry in "
            f"transrec_core/adapters/anatomy.py; the module tree is\n{encoder}"
        ) from None
    return found
