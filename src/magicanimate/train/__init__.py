"""Training: the small VAE, stage 1 (appearance and control) and stage 2 (temporal layers), one loop for all."""
