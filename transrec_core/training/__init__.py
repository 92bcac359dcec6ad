"""One training run: the trainer, what the encoder reads, checkpoints, what a step costs."""
