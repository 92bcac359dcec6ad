"""What is refused before anything is computed: mistakes that would cost a source stage, or give numbers that
mean nothing.
"""

from __future__ import annotations

from transrec_core.base.errors import UserError
from transrec_core.study.specs import FROM_SOURCE, WITHOUT_CONTENT, RunSpec
from transrec_core.world.encoders import RECIPES, encoder_path

#: Encoders whose words are not those of the embedded world's titles.
_REAL_WORDS = ("minilm", "mlm-bert")


def check_run(spec: RunSpec) -> None:
    """Refuses a run whose data and encoder don't go together, or whose encoder is not there.

    What is on record already can still be read.

    Args:
        spec: what is to be run.

    Raises:
        UserError: one line with the field and the way out.
    """
    source, target, encoder = spec.source.data, spec.target, spec.encoder
    if spec.strategy in WITHOUT_CONTENT:
        return
    if target.modality == "id":
        raise UserError(
            f"modality 'id' has no content for {spec.method} to read; choose text or image, "
            f"or strategy item_id or popularity"
        )
    if spec.strategy in FROM_SOURCE and source.is_world != target.is_world:
        raise UserError(
            f"source '{source.folder}' and target '{target.folder}': one is the embedded world; name two "
            f"dataset folders (--source and --target; source.data.folder and target.folder in a file)"
        )
    if encoder == "world" and not target.is_world:
        raise UserError(
            f"encoder 'world' reads nothing but the embedded world; name one for '{target.folder}' "
            f"(--encoder: minilm, mae-vit, mlm-bert, fresh-vit, a folder or a hub name; encoder in a file)"
        )
    if encoder in _REAL_WORDS and target.modality == "text" and target.is_world:
        raise UserError(f"encoder '{encoder}' does not know the embedded world's words; choose 'world'")
    if encoder not in RECIPES:
        encoder_path(encoder, target.modality)
