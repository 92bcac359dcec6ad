"""What a run is: a specification that can be read, changed by ``--set``, hashed, and repeated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from transrec_core.adapters.config import AdapterConfig
from transrec_core.base.config import StrictModel, first_problem
from transrec_core.base.errors import UserError
from transrec_core.base.hashing import content_hash
from transrec_core.data.loading import DataSpec
from transrec_core.models.spec import ModelSpec
from transrec_core.training.spec import TrainSpec

#: Fields that came after the first records. At these values they mean what the code did before, and stay out
#: of the content hash, so that older records and shipped source models keep their names.
LATER: dict[str, dict[str, Any]] = {
    "model": {"item_activation": "none", "user_activation": "gelu", "norm_eps": 1e-5},
    "adapter": {"form": "serial", "scale": 1.0, "phm_dim": 4, "train_embeddings": False},
    "training": {"cache": "fp32", "cache_gb": 8.0, "checkpointing": False, "accumulate": 1},
    "target": {"share": 1.0, "share_seed": 0},
    "data": {"share": 1.0, "share_seed": 0},  # of the source
}

Strategy = Literal[
    "full", "adapter", "head", "frozen", "scratch", "untrained", "popularity", "item_id", "oracle", "nearest"
]
STRATEGIES: tuple[str, ...] = get_args(Strategy)
#: Strategies that start from the source model, and those that train.
FROM_SOURCE = ("full", "adapter", "head", "frozen")
TRAINED = ("full", "adapter", "head", "scratch", "item_id")
#: Those that read no item's content.
WITHOUT_CONTENT = ("popularity", "item_id", "oracle")


class SourceSpec(StrictModel):
    """The source stage: full training of a TransRec on the source domain, from the given encoder.

    Attributes:
        data: the source domain.
        training: its budget and step sizes.
        seed: of the head, the user encoder and the batches.
    """

    data: DataSpec = DataSpec(folder="world:source")
    training: TrainSpec = TrainSpec()
    seed: int = 0


class RunSpec(StrictModel):
    """One run: adapt (or not) a source model to a target domain, and test it.

    Attributes:
        target: the target domain.
        source: how the model was pretrained.
        encoder: "world" (the embedded world's own), "minilm" (optional extra), "fresh-vit" (random weights),
            "mae-vit" or "mlm-bert" (built here from dataset folders), a folder or a hub name.
        model: shape and objective.
        strategy: ``full`` trains everything, ``adapter`` an adapter, ``head`` the projection only, ``frozen``
            nothing; ``scratch`` trains everything from the weights that the source stage started from (no
            source data); the controls are ``untrained`` (random weights), ``popularity``, ``item_id`` (SASRec
            on item IDs), ``nearest`` (nothing trained: items whose content is nearest to the history's) and
            ``oracle`` (embedded world only).
        adapter: with strategy ``adapter`` only.
        training: budget and step sizes.
        seed: of everything random in the adaptation.
    """

    target: DataSpec = DataSpec()
    source: SourceSpec = SourceSpec()
    encoder: str = "world"
    model: ModelSpec = ModelSpec()
    strategy: Strategy = "full"
    adapter: SerializeAsAny[AdapterConfig] | None = None
    training: TrainSpec = TrainSpec()
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _adapter_where_it_belongs(self) -> RunSpec:
        if (self.strategy == "adapter") != (self.adapter is not None):
            raise ValueError("'adapter' is set if, and only if, strategy is 'adapter'")
        if self.target.modality != self.source.data.modality:
            raise ValueError(
                "source and target have different modalities; "
                "set both (target.modality, source.data.modality)"
            )
        if self.strategy == "oracle" and not self.target.is_world:
            raise ValueError("only the embedded world has an oracle")
        return self

    @property
    def method(self) -> str:
        """What a table calls this run: the adapter's method, else the strategy."""
        return self.adapter.method if self.adapter else self.strategy

    def id(self) -> str:
        """Content hash, 12 hex digits, over everything that can change the result."""
        fields = self.model_dump(mode="json")
        if self.adapter is not None:
            fields["adapter"] = self.adapter.hashed()
        return content_hash(_hashed(fields))

    def source_id(self) -> str:
        """Content hash of the source model that the run starts from."""
        return content_hash(_hashed(self.model_dump(mode="json", include={"source", "encoder", "model"})))


def _hashed(fields: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for part, value in fields.items():
        if isinstance(value, dict):
            later = LATER.get(part, {})
            value = _hashed(
                {key: inner for key, inner in value.items() if key not in later or inner != later[key]}
            )
        kept[part] = value
    return kept


def validated(fields: dict[str, Any], origin: str) -> RunSpec:
    """A RunSpec from plain data.

    Args:
        fields: as in a YAML file.
        origin: where they are from, for the message.

    Raises:
        UserError: one line with the origin, the field, and what is wrong.
    """
    try:
        return RunSpec.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"{origin}: {first_problem(error)}") from None


def read_spec(path: str | Path, changes: Sequence[str] = ()) -> RunSpec:
    """Reads a YAML specification and applies changes.

    Args:
        path: the file.
        changes: see :func:`with_changes`.

    Raises:
        UserError: if the file is missing or not YAML, a key is unknown (the nearest is named), or a value is
            not fit.
    """
    return validated(with_changes(read_yaml(Path(path), "a run's specification"), changes), str(path))


def read_yaml(path: Path, content: str) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Args:
        path: the file.
        content: what it should hold, in words.

    Raises:
        UserError: if the file is missing, is not YAML, or holds something else.
    """
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a YAML file with {content}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give the YAML file in it") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(fields, dict):
        raise UserError(f"{path}: {content} is a mapping of keys to values, not a {type(fields).__name__}")
    return fields


def with_changes(fields: dict[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """Applies changes to nested dictionaries, in place, and returns them.

    Args:
        fields: as in a YAML file.
        changes: "a.b=value" each, the value in YAML.

    Raises:
        UserError: if a change has no "=", its value is no YAML, or it goes through something without keys.
    """
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise UserError(f"--set {change}: write key=value, for example --set training.steps=100")
        place, parts = fields, key.split(".")
        for part in parts[:-1]:
            if place.get(part) is None:
                place[part] = {}
            place = place[part]
            if not isinstance(place, dict):
                raise UserError(f"--set {change}: '{part}' has no keys of its own")
        try:
            place[parts[-1]] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UserError(f"--set {change}: '{text}' is no YAML value; quote it") from None
    return fields
