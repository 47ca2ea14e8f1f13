"""Experiment trackers beside the run folder: MLflow and Weights & Biases."""
