"""TransRec and its parts. Names are imported when they are first asked for."""

from typing import TYPE_CHECKING

from transrec_core.base.lazy import lazy_names

if TYPE_CHECKING:
    from transrec_core.models.backbones import fresh_backbone as fresh_backbone
    from transrec_core.models.backbones import load_backbone as load_backbone
    from transrec_core.models.item_encoder import IdEncoder as IdEncoder
    from transrec_core.models.item_encoder import ItemEncoder as ItemEncoder
    from transrec_core.models.spec import ModelSpec as ModelSpec
    from transrec_core.models.transrec import TransRec as TransRec
    from transrec_core.models.user_encoder import SASRec as SASRec

_HOMES = {
    "IdEncoder": "item_encoder",
    "ItemEncoder": "item_encoder",
    "ModelSpec": "spec",
    "SASRec": "user_encoder",
    "TransRec": "transrec",
    "fresh_backbone": "backbones",
    "load_backbone": "backbones",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
