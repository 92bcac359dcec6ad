"""Adapter folders: what ``save_adapter`` writes and ``load_adapter`` reads.

    transrec_adapter.safetensors   the weights, by site and parameter; no pickle
    transrec_adapter.json          {"format": "transrec-adapter", "version": 1, "library": of the writer,
                                    "base": hash of the base, "config": the configuration}
    README.md                      a model card

Folders of before 0.2 are read as well: ``adapter_model.safetensors`` and a flat ``adapter_config.json``,
without a base. PEFT's files have these names, too; they are told apart by their ``peft_type``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

import transrec_core
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.weights import save_tensors
from transrec_core.base.config import first_problem
from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write

CHANGES_NO_RESULT = True  # a run never reads an adapter folder

CONFIG_FILE = "transrec_adapter.json"
WEIGHTS_FILE = "transrec_adapter.safetensors"
CARD_FILE = "README.md"
FORMAT = "transrec-adapter"
#: Raised when an older library can't read what is written.
VERSION = 1
KEYS = ("format", "version", "library", "base", "config")

#: Names of before 0.2, and of PEFT.
OLD_CONFIG_FILE = "adapter_config.json"
OLD_WEIGHTS_FILE = "adapter_model.safetensors"

_CARD = """---
library_name: transrec
tags: [adapter, recommendation, {method}]
---

# {name}

A *{method}* adapter (encoders: {encoders}), {count:,} parameters with its copy of the head, for the base
`{base:.12}`.

{usage}
"""


class SavedAdapter(NamedTuple):
    """What an adapter folder holds.

    Attributes:
        config: the configuration.
        tensors: the weights, by "SITE PATH.PARAMETER".
        base: hash of the base that it was trained on; None in a folder of before 0.2.
    """

    config: AdapterConfig
    tensors: dict[str, Tensor]
    base: str | None


def base_hash(tensors: Iterable[Tensor]) -> str:
    """A name for the content of a base: 64 hex digits, the same on every device.

    It is the SHA-256 of the sorted SHA-256s of all tensors (shape and values), so that names and order of
    modules, which change between versions of a library, don't count. Floating-point values are rounded to
    bfloat16 first: a base and its copy in bfloat16 are one, another training run is another base. A copy in
    float16 has rounded differently, and counts as another.

    Args:
        tensors: parameters and buffers.
    """
    parts = []
    for tensor in tensors:
        value = tensor.detach()
        value = (
            value.to(torch.bfloat16).view(torch.int16) if value.is_floating_point() else value.to(torch.int64)
        )
        part = hashlib.sha256(str(tuple(value.shape)).encode())
        part.update(value.cpu().contiguous().numpy().data)
        parts.append(part.digest())
    return hashlib.sha256(b"".join(sorted(parts))).hexdigest()


def write_adapter(folder: str | Path, name: str, saved: SavedAdapter, usage: str) -> None:
    """Writes an adapter folder, each file in one step.

    Args:
        folder: where to; made if it is missing, other files in it stay.
        name: of the adapter, for the model card.
        saved: what to write.
        usage: lines of the card that say how to load it.

    Raises:
        OSError: if a file can't be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / WEIGHTS_FILE, saved.tensors)
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "library": transrec_core.__version__,
        "base": saved.base,
        "config": saved.config.model_dump(mode="json"),
    }
    atomic_write(folder / CONFIG_FILE, json.dumps(fields, indent=2) + "\n")
    card = _CARD.format(
        method=saved.config.method,
        name=name,
        encoders=saved.config.encoders,
        count=sum(tensor.numel() for tensor in saved.tensors.values()),
        base=saved.base,
        usage=usage,
    )
    atomic_write(folder / CARD_FILE, card)


def read_adapter(folder: str | Path) -> SavedAdapter:
    """Reads an adapter folder, of this form or of the one before.

    Args:
        folder: what ``save_adapter`` wrote.

    Raises:
        UserError: if a file is missing, damaged, of a newer version or of another library.
    """
    folder = Path(folder)
    old = not (folder / CONFIG_FILE).is_file() and (folder / OLD_CONFIG_FILE).is_file()
    file = folder / (OLD_CONFIG_FILE if old else CONFIG_FILE)
    weights = folder / (OLD_WEIGHTS_FILE if old else WEIGHTS_FILE)
    fields = _fields(file)
    if old:
        if "peft_type" in fields:
            raise UserError(
                f"{file}: this adapter was saved by PEFT; read it with import_peft(model, '{folder}', name) "
                "of transrec_core.adapters.peft_format"
            )
        fields = {"config": fields}
    else:
        _check_header(file, fields)
    try:
        config = AdapterConfig.model_validate(fields["config"])
    except ValidationError as error:
        raise UserError(f"{file}: {first_problem(error)}{_writer(fields)}") from None
    try:
        tensors = load_file(weights)
    except FileNotFoundError:
        raise UserError(f"{weights}: not found; save or download the adapter again") from None
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{weights}: damaged adapter ({str(error).splitlines()[0]}); save or download it again"
        ) from None
    return SavedAdapter(config, tensors, fields.get("base"))


def _fields(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{file}: not found; {file.parent} is no adapter folder (save_adapter writes one)"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file}: damaged adapter ({str(error).splitlines()[0]}); save or download it again"
        ) from None
    if not isinstance(fields, dict):
        raise UserError(f"{file}: damaged adapter (no JSON object); save or download it again")
    return fields


def _check_header(file: Path, fields: Mapping[str, Any]) -> None:
    if fields.get("format") != FORMAT:
        raise UserError(
            f"{file}: format is '{fields.get('format')}', not '{FORMAT}'; it was written by something else"
        )
    version = fields.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise UserError(
            f"{file}: version {version} of the format, this library reads up to {VERSION}{_writer(fields)}"
        )
    for key in fields:
        if key not in KEYS:
            raise UserError(f"{file}: unknown key '{key}' (known: {', '.join(KEYS)}){_writer(fields)}")
    if "config" not in fields:
        raise UserError(f"{file}: damaged adapter (no 'config'); save or download it again")


def _writer(fields: Mapping[str, Any]) -> str:
    here, writer = transrec_core.__version__, fields.get("library")
    return (
        "" if writer in (None, here) else f"; transrec {writer} wrote it and this is {here}: install that one"
    )
