"""The three training steps: supervised fine-tuning, reward training, preference optimisation."""
