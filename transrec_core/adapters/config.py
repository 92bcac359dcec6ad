"""What a method is set to, and where it goes. Placement is configuration, not code."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, field_validator, model_validator

from transrec_core.adapters.registry import METHODS
from transrec_core.adapters.registry import method as method_class
from transrec_core.base.config import StrictModel, nearest
from transrec_core.base.errors import UserError

#: Fields of the one flat configuration that all methods shared before 0.2, with the values that said nothing.
#: At these values they stand in every older record and adapter folder, also of methods that have no such
#: field.
FLAT: dict[str, Any] = {
    "method": "houlsby",
    "encoders": "both",
    "layers": "all",
    "position": None,
    "form": "serial",
    "targets": ["query", "value"],
    "item_size": 64,
    "user_size": 16,
    "activation": "gelu",
    "init": "kaiming",
    "alpha": None,
    "scale": 1.0,
    "phm_dim": 4,
    "dropout": 0.0,
    "train_layernorm": False,
    "train_head": True,
    "train_embeddings": False,
}

#: What users of PEFT and AdapterHub will try, and what it is called here.
ALIASES = {
    **dict.fromkeys(
        ("r", "rank", "size", "bottleneck", "bottleneck_size", "num_virtual_tokens", "n_tokens"), "sizes"
    ),
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "target_modules": "targets",
    "layers_to_transform": "layers",
    "non_linearity": "activation",
    "init_weights": "init",
}


class AdapterConfig(StrictModel):
    """Which adapter, and where it goes: the fields that all methods share.

    Each method has a configuration class of its own with the fields that it alone has;
    ``AdapterConfig(method="lora", alpha=8)`` is an object of that class. ``rank=8`` (or ``r``,
    ``bottleneck_size``, ...) stands for ``item_size=8, user_size=8``.

    Attributes:
        method: a registered method, e.g. "houlsby", "pfeiffer", "lora".
        encoders: encoders that get adapters.
        layers: "all", a list of layer indices counted from the bottom (negative: from the top), or "top-K".
        item_size: bottleneck width, rank or number of prompt tokens in the item encoder.
        user_size: the same in the user encoder.
        activation: non-linearity of a bottleneck.
        init: distribution of the first map of an adapter (the last one starts at zero: nothing changes at the
            start).
        dropout: dropout on the input of an adapter, while training.
        train_layernorm: also train a copy of the LayerNorms of the adapted layers.
        train_head: also train a copy of the projection from the backbone to the item vector.
        train_embeddings: also train a copy of what turns words (or patches) into the item encoder's first
            states.
    """

    method: str = "houlsby"
    encoders: Literal["item", "user", "both"] = "both"
    layers: Literal["all"] | list[int] | str = "all"
    item_size: int = Field(64, ge=1)
    user_size: int = Field(16, ge=1)
    activation: Literal["gelu", "relu", "tanh"] = "gelu"
    init: Literal["kaiming", "normal"] = "kaiming"
    dropout: float = Field(0.0, ge=0, lt=1)
    train_layernorm: bool = False
    train_head: bool = True
    train_embeddings: bool = False

    def __new__(cls, *args: Any, **fields: Any) -> Self:
        """An object of the method's own class, so that ``AdapterConfig(method="lora")`` has LoRA's fields."""
        name = fields.get("method", FLAT["method"])
        known = cls is AdapterConfig and isinstance(name, str) and name in METHODS
        return super().__new__(method_class(name).Config if known else cls)  # type: ignore[return-value]

    @model_validator(mode="wrap")
    @classmethod
    def _of_the_method(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, dict):
            return handler(data)
        name = data.get("method", cls.model_fields["method"].default)
        try:
            own = method_class(name).Config
        except (UserError, TypeError) as error:
            raise ValueError(f"method: {error}") from None
        if cls is AdapterConfig:
            return own.model_validate(data)  # type: ignore[return-value]
        if not issubclass(cls, own) and own is not cls:
            raise ValueError(f"{cls.__name__} is not a configuration of '{name}'")
        return handler(cls._renamed(data))

    @classmethod
    def _renamed(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Other libraries' names replaced by ours; fields of the former flat configuration that say
        nothing left out.
        """
        out: dict[str, Any] = {}
        for key, value in data.items():
            new = ALIASES.get(key, key)
            names = ("item_size", "user_size") if new == "sizes" else (new,)
            for name in names:
                if new == "sizes" and name in data:
                    if name == "item_size":
                        raise ValueError(
                            f"'{key}' stands for item_size, which is given as well; write one of them"
                        )
                    continue
                if name in cls.model_fields:
                    out[name] = value
                elif name not in FLAT:
                    raise ValueError(
                        f"unknown key '{key}' in {cls.__name__}; {nearest(key, cls.model_fields)}"
                    )
                elif (list(value) if isinstance(value, tuple) else value) != FLAT[name]:
                    raise ValueError(
                        f"{cls.model_fields['method'].default} has no '{key}': leave it out "
                        f"(it can set: {', '.join(cls.model_fields)})"
                    )
        return out

    @model_validator(mode="after")
    def _embeddings_are_the_items(self) -> Self:
        if self.train_embeddings and self.encoders == "user":
            raise ValueError("train_embeddings opens the item encoder's embeddings: not with encoders 'user'")
        return self

    @field_validator("layers")
    @classmethod
    def _readable_layers(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "all" and not re.fullmatch(r"top-[1-9]\d*", value):
            raise ValueError(f"layers is 'all', a list of indices or 'top-K' (e.g. 'top-2'), not '{value}'")
        return value

    def size(self, encoder: str) -> int:
        """Bottleneck width or rank in ``encoder`` ("item" or "user")."""
        return self.item_size if encoder == "item" else self.user_size

    def chosen_layers(self, n_layers: int, encoder: str = "item") -> set[int]:
        """Indices of the layers to adapt.

        Args:
            n_layers: how many layers the encoder has.
            encoder: which one it is ("item" or "user"), for the message.

        Raises:
            UserError: if a listed layer does not exist.
        """
        if self.layers == "all":
            return set(range(n_layers))
        if isinstance(self.layers, str):
            return set(range(max(0, n_layers - int(self.layers[4:])), n_layers))
        wrong = [i for i in self.layers if not -n_layers <= i < n_layers]
        if wrong:
            raise UserError(
                f"adapter layer {wrong[0]} does not exist: the {encoder} encoder has layers 0 to "
                f"{n_layers - 1}; choose others, or one encoder with 'encoders'"
            )
        return {i % n_layers for i in self.layers}

    def hashed(self) -> dict[str, Any]:
        """The fields that a content hash is taken of, as older records have them.

        Those of the former flat configuration are there for every method; a newer field is there only where
        it differs from its default, so that a field that is added later renames no record.
        """
        fields = self.model_dump(mode="json")
        defaults = (
            type(self)(method=self.method).model_dump(mode="json") if fields.keys() - FLAT.keys() else {}
        )
        return FLAT | {key: v for key, v in fields.items() if key in FLAT or v != defaults[key]}
