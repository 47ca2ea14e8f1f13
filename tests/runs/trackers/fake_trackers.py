"""Stand-ins for `wandb` and `mlflow`: the few calls that are made of them, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any


class FakeWandbRun:
    def __init__(self, **options: Any) -> None:
        self.options, self.id = options, options["id"] or "made-by-wandb"
        self.rows: list[Mapping[str, float]] = []
        self.summary: dict[str, object] = {}
        self.axis: tuple[str, str] | None = None
        self.exit_code: int | None = None

    def define_metric(self, name: str, *, step_metric: str) -> None:
        self.axis = (name, step_metric)

    def log(self, row: Mapping[str, float]) -> None:
        self.rows.append(row)

    def finish(self, *, exit_code: int) -> None:
        self.exit_code = exit_code


def fake_wandb() -> Any:
    """A module with `init`; `runs` holds what it made."""
    module: Any = ModuleType("wandb")
    module.runs = []

    def init(*, project: str, entity: str | None, mode: str, name: str, id: str | None, resume: str, dir: str | None, config: dict) -> Any:
        module.runs.append(FakeWandbRun(project=project, entity=entity, mode=mode, name=name, id=id, resume=resume, dir=dir, config=config))
        return module.runs[-1]

    module.init = init
    return module


class FakeMlflowClient:
    """Refuses what the real server refuses: batches of more than 100 parameters, and long values."""

    def __init__(self, tracking_uri: str) -> None:
        self.uri = tracking_uri
        self.experiments: dict[str, str] = {}
        self.params: dict[str, str] = {}
        self.metrics: list[tuple[str, float, int]] = []
        self.status = ""
        self.run_name = ""

    def get_experiment_by_name(self, name: str) -> Any:
        found = self.experiments.get(name)
        return None if found is None else SimpleNamespace(experiment_id=found)

    def create_experiment(self, name: str) -> str:
        self.experiments[name] = str(len(self.experiments))
        return self.experiments[name]

    def create_run(self, experiment_id: str, *, run_name: str, tags: Mapping[str, str]) -> Any:
        assert experiment_id in self.experiments.values()
        self.run_name, self.status = run_name, "RUNNING"
        return SimpleNamespace(info=SimpleNamespace(run_id="made-by-mlflow"))

    def update_run(self, run_id: str, *, status: str) -> None:
        self.status = status

    def log_batch(self, run_id: str, *, metrics: Sequence[Any] = (), params: Sequence[Any] = ()) -> None:
        assert len(params) <= 100 and all(len(one.value) <= 500 for one in params)
        self.params |= {one.key: one.value for one in params}
        self.metrics += [(one.key, one.value, one.step) for one in metrics]

    def set_terminated(self, run_id: str, *, status: str) -> None:
        self.status = status


def fake_mlflow() -> dict[str, Any]:
    """The modules by name; `clients` of the first holds the clients that were made."""
    clients: list[FakeMlflowClient] = []

    def client(tracking_uri: str) -> FakeMlflowClient:
        clients.append(FakeMlflowClient(tracking_uri))
        return clients[-1]

    def entity(*names: str) -> Any:
        return lambda *values: SimpleNamespace(**dict(zip(names, values, strict=True)))

    modules: dict[str, Any] = {name: ModuleType(name) for name in ("mlflow", "mlflow.tracking", "mlflow.entities")}
    modules["mlflow"].clients = clients
    modules["mlflow.tracking"].MlflowClient = client
    modules["mlflow.entities"].Metric = entity("key", "value", "timestamp", "step")
    modules["mlflow.entities"].Param = entity("key", "value")
    return modules
