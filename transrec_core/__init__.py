"""Parameter-efficient transferable recommendation: models, adapters and the study around them."""

__version__ = "0.2.0"
