"""Adapters: small trained modules on a frozen model. A file in ``methods/`` is a method; names are
imported when asked for.
"""

from typing import TYPE_CHECKING

from transrec_core.base.lazy import lazy_names

if TYPE_CHECKING:
    from transrec_core.adapters.base import Adapter as Adapter
    from transrec_core.adapters.config import AdapterConfig as AdapterConfig
    from transrec_core.adapters.mixin import AdapterMixin as AdapterMixin
    from transrec_core.adapters.registry import METHODS as METHODS

_HOMES = {"Adapter": "base", "AdapterConfig": "config", "AdapterMixin": "mixin", "METHODS": "registry"}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
