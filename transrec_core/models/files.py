"""Model folders: what is written of a TransRec, and how it is read again.

    config.json         shape, backbone's configuration, provenance
    model.safetensors   weights of the base; adapters have folders of their own (``save_adapter``)
    items.safetensors   ids and content of the items that it knows, if any
    reading.json        how titles or pictures are read, with tokenizer/
    README.md           the model card

A folder with ``base.json`` in place of the first two is a small one: it names a base elsewhere, an adapter,
and a folder with items.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from transrec_core.adapters.weights import save_tensors
from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write
from transrec_core.data.reading import READING_FILE, TOKENIZER_FOLDER, Reader, load_reader
from transrec_core.models.item_encoder import ItemEncoder
from transrec_core.models.items import ITEMS_FILE, KnownItems
from transrec_core.models.roles import Roles
from transrec_core.models.spec import ModelSpec

CONFIG_FILE, WEIGHTS_FILE, BASE_FILE = "config.json", "model.safetensors", "base.json"
#: Source models that come with the package; "shipped:ID" in ``base.json`` is one of them.
SHIPPED = Path(__file__).parents[1] / "assets" / "source"


class Saved(Roles):
    """Saving and loading of a host with ``spec``, ``item_encoder``, ``known`` and ``reader``."""

    spec: ModelSpec
    known: KnownItems | None
    reader: Reader | None

    def save_pretrained(
        self, folder: str | Path, provenance: dict[str, Any] | None = None, with_items: bool = True
    ) -> None:
        """Writes the base model, and the items that it knows; adapters are saved by ``save_adapter``.

        Args:
            folder: where to.
            provenance: what the card says about the origin (data, seed, versions).
            with_items: also write the items' ids and content, and what reading new ones needs.

        Raises:
            UserError: if an adapter is merged, whose weights would become the base's.
        """
        self.require_unmerged("save_pretrained")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v for k, v in self.state_dict().items() if not k.startswith("adapters.")}
        save_tensors(folder / WEIGHTS_FILE, state, {"format": "pt"})
        encoder: Any = self.item_encoder
        if isinstance(encoder, ItemEncoder):
            encoder_config: Any = encoder.backbone.config
            backbone: dict[str, Any] = encoder_config.to_diff_dict()
        else:
            backbone = {"model_type": "id", "n_items": encoder.embedding.num_embeddings - 1}
        config = {"spec": self.spec.model_dump(), "backbone": backbone, "provenance": provenance or {}}
        atomic_write(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
        lines = [f"- {key}: {value}" for key, value in (provenance or {}).items()]
        card = ["---", "library_name: transrec", "---", "", "# TransRec", "", *lines, ""]
        atomic_write(folder / "README.md", "\n".join(card))
        save_items(folder, self.known if with_items else None, self.reader if with_items else None)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Reads what :meth:`save_pretrained` wrote, or the model that ``transrec run`` kept.

        Args:
            folder: of the model.

        Raises:
            UserError: if a file is missing or damaged, or the folder holds something else.
        """
        folder = Path(folder)
        if (folder / BASE_FILE).is_file():
            return cls._on_its_base(folder)
        for file in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / file).is_file():
                raise UserError(
                    f"{folder / file}: not found; {folder} is no TransRec folder (save_pretrained writes one)"
                )
        try:
            config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            if "spec" not in config and "model_type" in config:
                raise UserError(
                    f"{folder}: an encoder ({config['model_type']}), not a TransRec; "
                    f"TransRec.from_encoder('{folder}') builds one around it"
                )
            spec = ModelSpec.model_validate({**config["spec"], "encoder_layers": None})
            model = cls._fresh(config["backbone"], spec)
            with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
                model.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
        except UserError:
            raise
        except (ValidationError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{folder}: damaged model ({reason}); save or build it again") from None
        model.known, model.reader = load_items(folder)
        return model

    @classmethod
    def _fresh(cls, backbone: dict[str, Any], spec: ModelSpec) -> Self:
        """A model of this shape, its weights still to be read."""
        raise NotImplementedError

    @classmethod
    def _on_its_base(cls, folder: Path) -> Self:
        try:
            fields = json.loads((folder / BASE_FILE).read_text(encoding="utf-8"))
            base, items, adapter = fields["base"], fields["items"], fields["adapter"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder / BASE_FILE}: damaged ({str(error).splitlines()[0]})") from None
        shipped = str(base).removeprefix("shipped:")
        place = folder / str(base) if shipped == base else SHIPPED / shipped
        if not place.is_dir():
            raise UserError(
                f"{folder / BASE_FILE}: its base is not there: {place}; bring it back, or train again"
            )
        model = cls.from_pretrained(place)
        if adapter is not None:
            model.load_adapter(folder / str(adapter), str(adapter))
        model.known, model.reader = load_items(folder / str(items))
        return model


def save_items(folder: Path, known: KnownItems | None, reader: Reader | None) -> None:
    """Writes the items that a model knows and what reading new ones needs; what was there before goes.

    Args:
        folder: of the model.
        known: ids and content.
        reader: of titles or pictures.
    """
    for file in (ITEMS_FILE, READING_FILE):
        (folder / file).unlink(missing_ok=True)
    shutil.rmtree(folder / TOKENIZER_FOLDER, ignore_errors=True)
    if reader is not None:
        reader.save(folder)
    if known is not None:
        known.save(folder)


def load_items(folder: Path) -> tuple[KnownItems | None, Reader | None]:
    """What :func:`save_items` wrote.

    Args:
        folder: of the model.

    Raises:
        UserError: if it is damaged.
    """
    return KnownItems.load(folder), load_reader(folder)
