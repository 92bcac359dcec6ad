"""``python -m transrec_core.cli``, for ``accelerate launch``."""

from transrec_core.cli.main import main

main()
