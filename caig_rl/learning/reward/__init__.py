"""Stage B, reward training: losses, batches of whole tests, and the task that the trainer runs."""
