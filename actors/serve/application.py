"""The Serve application, made from a resolved configuration: `actors.serve.application:build`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from actors.cluster.connect import worker_options
from actors.serve.deployment_plan import ROUTED, user_config
from actors.serve.ingress import Ingress
from actors.serve.painter import Painter
from actors.serve.policy import Policy
from actors.serve.scorer import Scorer
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config, PoolConfig
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.backbone import SPEC_FILE
from caig_rl.models.vllm_engine import prepare_environment
from caig_rl.serving.versions import VersionStore

_INGRESS_CPUS = 0.1
_INGRESS_REQUESTS = 512
"""Requests one ingress replica holds at once. Its own limits refuse what is too much, with a problem document and at once; Serve's
queue in front of it is only the fuse behind that."""


def build(args: dict[str, Any]) -> Application:
    """The application. `args["config"]`: path of a YAML file, or the resolved configuration itself; `args["overrides"]`: as on the command
    line."""
    given = args["config"]
    config = Config.model_validate(given) if isinstance(given, dict) else load_config(Path(given), args.get("overrides", []))
    pools = config.pools
    policy_environment = prepare_environment(config.policy, pools.policy.threads)
    policy = _model(config, Policy, pools.policy, policy_environment).bind(config)
    painter = _model(config, Painter, pools.renderer).bind(config, reward_view_side(config))
    scorer = _model(config, Scorer, pools.scorer).bind(config)
    ingress = serve.deployment(serve.ingress()(Ingress)).options(
        name="Ingress",
        max_ongoing_requests=_INGRESS_REQUESTS,
        max_queued_requests=_INGRESS_REQUESTS,
        # A dead replica is noticed at its next check: until then requests wait for it.
        health_check_period_s=2,
        # A replica that is scaled away ends what it began.
        graceful_shutdown_timeout_s=config.serve.limits.request_timeout_s,
        user_config=user_config(VersionStore(Path(config.serve.root)).routing()),
        ray_actor_options={"num_cpus": _INGRESS_CPUS, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}}},
        **_replicas(config.serve.replicas.min_ingress, config.serve.replicas.max_ingress, config.serve.limits.max_concurrent / 2),
    )
    return ingress.bind(config, policy, painter, scorer)


def reward_view_side(config: Config) -> int:
    """Side of the picture that the reward model looks at."""
    return int(json.loads((resolve_model_folder(config.reward.model, "reward") / SPEC_FILE).read_text(encoding="utf-8"))["image_size"])


def _model(config: Config, kind: type, pool: PoolConfig, environment: dict[str, str] | None = None) -> Any:
    serving, options = config.serve, worker_options(pool, environment)
    # What the ingress lets in fits here: it is the one place that refuses. The queue is the fuse behind it.
    # An order is a few jobs at most; one a candidate where the renderer paints them one by one.
    most = serving.replicas.max_ingress * serving.limits.max_concurrent * serving.limits.max_candidates
    routed = {"user_config": user_config(VersionStore(Path(serving.root)).routing())} if kind.__name__ in ROUTED else {}
    return serve.deployment(kind).options(
        name=kind.__name__,
        max_ongoing_requests=most,
        max_queued_requests=most,
        health_check_period_s=5,
        health_check_timeout_s=30,
        graceful_shutdown_timeout_s=serving.limits.request_timeout_s,
        ray_actor_options={name: options[name] for name in ("num_cpus", "num_gpus", "runtime_env")},
        **routed,
        **_replicas(serving.replicas.min_models, serving.replicas.max_models, serving.limits.max_concurrent / 2),
    )


def _replicas(least: int, most: int, target: float) -> dict[str, Any]:
    if least == most:
        return {"num_replicas": least}
    scaling = AutoscalingConfig(
        min_replicas=least, max_replicas=most, target_ongoing_requests=target, upscale_delay_s=5, downscale_delay_s=60
    )
    return {"autoscaling_config": scaling}
