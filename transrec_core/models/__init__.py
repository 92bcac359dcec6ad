"""TransRec and its parts."""

from transrec_core.models.item_encoder import IdEncoder, ItemEncoder, fresh_backbone, load_backbone
from transrec_core.models.transrec import ModelSpec, TransRec
from transrec_core.models.user_encoder import SASRec

__all__ = ["IdEncoder", "ItemEncoder", "ModelSpec", "SASRec", "TransRec", "fresh_backbone", "load_backbone"]
