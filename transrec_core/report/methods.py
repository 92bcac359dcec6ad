"""Tables of the adapter methods, as their classes describe themselves."""

from __future__ import annotations

import pandas as pd

from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.registry import METHODS
from transrec_core.models.params import table
from transrec_core.report.names import method_name


def counts_table(encoder: str) -> pd.DataFrame:
    """The parameters that each method adds with its own defaults, where the encoder can have it.

    Args:
        encoder: a usual backbone's name, or a folder with a config.json.
    """
    return pd.DataFrame(
        [
            {
                "method": method_name(row["method"]),
                "added parameters": f"{row['added']:,}",
                "item encoder": f"{row['item']:,}",
                "user encoder": f"{row['user']:,}",
                "shared": f"{row['shared']:,}",
                "of the model (%)": f"{100 * row['added'] / row['base']:.2f}",
                "on disk with head (MiB)": f"{row['bytes'] / 2**20:.2f}",
            }
            for row in table(encoder)
        ]
    )


def settings_table() -> pd.DataFrame:
    """Family, year and settings of each method; those that all methods share are left out."""
    shared = set(AdapterConfig.model_fields)
    return pd.DataFrame(
        [
            {
                "method": method_name(name),
                "family": adapter.family,
                "year": adapter.year or "–",
                "settings of its own": ", ".join(f for f in adapter.Config.model_fields if f not in shared)
                or "–",
                "can be merged": "yes" if adapter.merges else "no",
            }
            for name, adapter in METHODS.items()
        ]
    )


def merging_methods() -> list[str]:
    """Names of the methods that can be folded into the frozen weights."""
    return [method_name(name) for name, adapter in METHODS.items() if adapter.merges]
