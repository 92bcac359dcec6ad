"""The ``transrec`` command."""
