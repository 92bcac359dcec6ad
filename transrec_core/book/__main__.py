"""``python -m transrec_core.book``."""

from transrec_core.base.console import run
from transrec_core.book.execute import app

run(app)
