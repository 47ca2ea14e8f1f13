"""Ray adapters around the library, in rooms: `loop` is the controller of a run; `rollout`, `learner` and `evaluation` do its work;
`weights`, `checkpoints`, `telemetry` and `cluster` are what these share; `launch`, `submission`, `chaos`, `serve` and `train_jobs` are
the doors. `docs/architecture.md` lists who imports whom.
"""
