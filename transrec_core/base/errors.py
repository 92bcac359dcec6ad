"""The one error that means "the user can mend this": the command line prints it as one line and exits with
2.
"""

from __future__ import annotations


class UserError(ValueError):
    """Bad input. The message is one line that names the file, line or field, and the way out."""
