"""Training jobs apart from the online loop: Ray Train's TorchTrainer around the library's trainers, fed by Ray Data. It may import
`checkpoints`, `telemetry` and `cluster`. It must never import the training loop.
"""
