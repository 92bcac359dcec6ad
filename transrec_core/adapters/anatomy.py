"""Where the parts of an encoder sit that an adapter can act on.

An adapter method asks for *roles* ("attention", "ffn", "query", ...); this table says which module plays the
role in each family of encoders. A new backbone is one entry here. Nothing else in the project knows a
backbone's attribute names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from itertools import combinations

from torch import nn

from transrec_core.base.errors import UserError


@dataclass(frozen=True)
class Anatomy:
    """Paths of one encoder family, relative to the encoder (``layers``) or to one of its layers (the rest).

    Attributes:
        embeddings: what turns tokens or patches into the first layer's input.
        table: the word table or the patch projection in it; None where the encoder reads vectors.
        layers: the list of transformer layers.
        attend: the module that mixes values by attention (for Hugging Face: the one handed to the attention
            function).
        query: query projection.
        key: key projection.
        value: value projection.
        attention: linear map at the end of the attention sublayer, before its residual sum.
        expand: first linear map of the feed-forward sublayer.
        hidden: the module whose output is the feed-forward sublayer's inner activation.
        ffn: linear map at the end of the feed-forward sublayer, before its residual sum.
        norms: LayerNorms of a layer.
    """

    embeddings: str
    layers: str
    attend: str
    query: str
    key: str
    value: str
    attention: str
    expand: str
    hidden: str
    ffn: str
    norms: tuple[str, ...]
    table: str | None = None


_BERT = Anatomy(
    embeddings="embeddings",
    layers="encoder.layer",
    attend="attention.self",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention="attention.output.dense",
    expand="intermediate.dense",
    hidden="intermediate",
    ffn="output.dense",
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
    table="embeddings.word_embeddings",
)
_DISTILBERT = Anatomy(
    embeddings="embeddings",
    layers="transformer.layer",
    attend="attention",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention="attention.out_lin",
    expand="ffn.lin1",
    hidden="ffn.activation",
    ffn="ffn.lin2",
    norms=("sa_layer_norm", "output_layer_norm"),
    table="embeddings.word_embeddings",
)
_VIT = Anatomy(
    embeddings="embeddings",
    layers="layers",
    attend="attention",
    query="attention.q_proj",
    key="attention.k_proj",
    value="attention.v_proj",
    attention="attention.o_proj",
    expand="mlp.fc1",
    hidden="mlp.activation_fn",
    ffn="mlp.fc2",
    norms=("layernorm_before", "layernorm_after"),
    table="embeddings.patch_embeddings.projection",
)
_SASREC = Anatomy(
    embeddings="dropout",
    layers="blocks",
    attend="attention",
    query="attention.query",
    key="attention.key",
    value="attention.value",
    attention="attention.output",
    expand="ffn.input",
    hidden="ffn.activation",
    ffn="ffn.output",
    norms=("attention_norm", "ffn_norm"),
)

#: ``config.model_type`` of an encoder -> its anatomy. ViT-MAE weights are loaded into a ViTModel, hence the
#: same anatomy.
ANATOMY: dict[str, Anatomy] = {
    "bert": _BERT,
    "roberta": _BERT,
    "distilbert": _DISTILBERT,
    "vit": _VIT,
    "vit_mae": _VIT,
    "beit": _VIT,
    "sasrec": _SASREC,
}

#: Roles of the modules in a layer; besides these there are "norm" in a layer, and "embeddings", "table",
#: "states", "readout" and "head" of an encoder.
ROLES = ("attend", "query", "key", "value", "attention", "expand", "hidden", "ffn")


@dataclass(frozen=True)
class Site:
    """One module that an adapter can act on.

    Attributes:
        path: where it sits, from the model's root ("item_encoder.backbone.encoder.layer.0.output.dense").
        module: the pretrained module itself, which stays where it is.
        role: what it does (see :data:`ROLES`).
        encoder: "item" or "user".
        width: size of the encoder's hidden states.
        n_layers: how many layers the encoder has.
        layer: index of its layer from the bottom; -1 for a part outside the layers.
        root: the encoder itself.
        source: for "attention" and "ffn", the module whose input is the input of the sublayer.
        feeds: for "hidden", the linear map that reads it.
    """

    path: str
    module: nn.Module
    role: str
    encoder: str
    width: int
    n_layers: int
    layer: int = -1
    root: nn.Module | None = None
    source: nn.Module | None = None
    feeds: nn.Module | None = None


def anatomy_of(model_type: str) -> Anatomy | None:
    """The anatomy of a family of encoders; None where there is no entry.

    Such an encoder can be trained as a whole, or used as it is; only adapters, and keeping the states of
    frozen layers, need to know its parts.

    Args:
        model_type: ``config.model_type`` of the encoder.
    """
    return ANATOMY.get(model_type)


def levels(encoder: nn.Module, model_type: str) -> list[tuple[str, nn.Module]]:
    """What an input passes through, from the bottom: the embeddings, then each layer, as (path, module).

    Args:
        encoder: the backbone or user encoder.
        model_type: its family.

    Returns:
        Nothing for a family without an entry in :data:`ANATOMY`.

    Raises:
        UserError: if the entry does not fit the module.
    """
    anatomy = anatomy_of(model_type)
    if anatomy is None:
        return []
    try:
        layers = encoder.get_submodule(anatomy.layers).named_children()
        return [
            (anatomy.embeddings, encoder.get_submodule(anatomy.embeddings)),
            *((f"{anatomy.layers}.{name}", layer) for name, layer in layers),
        ]
    except AttributeError as error:
        raise _misfit(encoder, model_type, error) from None


def encoder_sites(encoder: nn.Module, model_type: str, prefix: str, name: str, width: int) -> list[Site]:
    """The sites of one encoder: its embeddings and everything in its layers.

    Args:
        encoder: the backbone or user encoder.
        model_type: its family, a key of :data:`ANATOMY`.
        prefix: path of ``encoder`` from the model's root.
        name: "item" or "user".
        width: size of its hidden states.

    Raises:
        UserError: if the family has no entry, or the entry does not fit the module (with the module tree to
            read it from), or one module is to play two roles.
    """
    anatomy = anatomy_of(model_type)
    if anatomy is None:
        raise UserError(
            f"no anatomy for encoder type '{model_type}' (known: {', '.join(sorted(ANATOMY))}): add to "
            f"ANATOMY in transrec_core/adapters/anatomy.py\n{_entry(model_type)}\nwith paths read from the "
            f"module tree\n{encoder}"
        )
    _refuse_fused(anatomy, model_type)
    (embeddings_path, embeddings), *layers = levels(encoder, model_type)
    site = partial(Site, encoder=name, width=width, n_layers=len(layers), root=encoder)
    sites = [site(f"{prefix}.{embeddings_path}", embeddings, "embeddings")]
    try:
        if anatomy.table is not None:
            sites.append(site(f"{prefix}.{anatomy.table}", encoder.get_submodule(anatomy.table), "table"))
        for index, (base, layer) in enumerate(layers):
            parts = {role: layer.get_submodule(getattr(anatomy, role)) for role in ROLES}
            source = {"attention": parts["query"], "ffn": parts["expand"]}
            feeds = {"hidden": parts["ffn"]}
            for role, module in parts.items():
                path = f"{prefix}.{base}.{getattr(anatomy, role)}"
                sites.append(
                    site(path, module, role, layer=index, source=source.get(role), feeds=feeds.get(role))
                )
            for norm in anatomy.norms:
                sites.append(site(f"{prefix}.{base}.{norm}", layer.get_submodule(norm), "norm", layer=index))
    except AttributeError as error:
        raise _misfit(encoder, model_type, error) from None
    return sites


def target_pattern(model_type: str, *roles: str) -> str:
    """The modules of some roles as PEFT's ``target_modules`` takes them: a regular expression of their paths.

    Args:
        model_type: a key of :data:`ANATOMY`.
        roles: of :data:`ROLES`, e.g. "query".
    """
    anatomy = ANATOMY[model_type]
    paths = "|".join(re.escape(getattr(anatomy, role)) for role in roles)
    return rf"{re.escape(anatomy.layers)}\.\d+\.({paths})"


def _refuse_fused(anatomy: Anatomy, model_type: str) -> None:
    # An adapter for the query alone would act on keys and values, too.
    for role, other in combinations(ROLES, 2):
        path = getattr(anatomy, role)
        if path == getattr(anatomy, other):
            raise UserError(
                f"the anatomy of '{model_type}' has one module '{path}' for {role} and {other}: adapters "
                "need one for each; an encoder that computes both at once trains with 'full' or 'head'"
            )


def _misfit(encoder: nn.Module, model_type: str, error: AttributeError) -> UserError:
    return UserError(
        f"the anatomy of '{model_type}' does not fit this module ({error}); mend its entry in "
        f"transrec_core/adapters/anatomy.py; the module tree is\n{encoder}"
    )


def _entry(model_type: str) -> str:
    fields = ", ".join(
        f'{field}="..."' for field in Anatomy.__dataclass_fields__ if field not in ("norms", "table")
    )
    return f'    "{model_type}": Anatomy({fields}, norms=("...",)),'
