"""Names by content."""

from __future__ import annotations

import hashlib
import json
from typing import Any

#: Raised when a change of the code changes results, so that no old record is taken for a new one.
VERSION = 1


def content_hash(value: Any) -> str:
    """12 hex digits of the SHA-256 of a JSON value and the code's :data:`VERSION`."""
    text = json.dumps({"version": VERSION, "value": value}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
