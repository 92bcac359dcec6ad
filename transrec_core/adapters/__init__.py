"""Adapters: small trained modules on a frozen model. Importing a method's file here registers it."""

from transrec_core.adapters.base import METHODS, Adapter, AdapterConfig
from transrec_core.adapters.bottleneck import Houlsby, Pfeiffer
from transrec_core.adapters.lora import LoRA
from transrec_core.adapters.mixin import AdapterMixin

__all__ = ["METHODS", "Adapter", "AdapterConfig", "AdapterMixin", "Houlsby", "LoRA", "Pfeiffer"]
