"""Adapters: small trained modules on a frozen model. Importing a method's file here registers it."""

from transrec_core.adapters.base import METHODS, Adapter, AdapterConfig
from transrec_core.adapters.bottleneck import Houlsby, Parallel, Pfeiffer
from transrec_core.adapters.compacter import Compacter
from transrec_core.adapters.dora import DoRA
from transrec_core.adapters.k_adapter import KAdapter
from transrec_core.adapters.lora import LoRA, RsLoRA
from transrec_core.adapters.mixin import AdapterMixin
from transrec_core.adapters.prompt import Prefix, Prompt
from transrec_core.adapters.scaling import IA3, BitFit, LayerNormTuning
from transrec_core.adapters.side import Side

__all__ = [
    "IA3",
    "METHODS",
    "Adapter",
    "AdapterConfig",
    "AdapterMixin",
    "BitFit",
    "Compacter",
    "DoRA",
    "Houlsby",
    "KAdapter",
    "LayerNormTuning",
    "LoRA",
    "Parallel",
    "Pfeiffer",
    "Prefix",
    "Prompt",
    "RsLoRA",
    "Side",
]
