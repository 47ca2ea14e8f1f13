"""The application's plan: what `serve deploy` takes, and what changes when a version goes live."""

from pathlib import Path

import yaml
from ray.serve.schema import ServeDeploySchema

from actors.serve.application import build
from actors.serve.deployment_plan import NAME, deployment_plan, user_config
from actors.serve.ingress import models_digest
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.versions import routing_from_json

REPOSITORY = Path(__file__).parents[3]
DEMO = REPOSITORY / "configs" / "serve-demo.yaml"


def test_the_committed_plan_is_the_one_that_the_code_makes():
    committed = yaml.safe_load((REPOSITORY / "cluster" / "serve-app.yaml").read_text())
    assert committed == deployment_plan("configs/serve-demo.yaml", "0.0.0.0", 8000, Routing("base"))
    assert ServeDeploySchema.model_validate(committed).applications[0].name == NAME


def test_between_two_versions_only_the_user_config_differs():
    old, new = (deployment_plan({}, "h", 1, Routing(name, previous=("v0",))) for name in ("v1", "v2"))
    assert old != new
    for plan in (old, new):
        for deployment in plan["applications"][0]["deployments"]:
            del deployment["user_config"]
    assert old == new


def test_a_routing_survives_the_way_to_the_replicas():
    routing = Routing("v2", "v3", 0.1, ("v1", "base"))
    assert routing_from_json(user_config(routing)["routing"]) == routing


def test_the_application_is_built_from_a_file_and_from_a_resolved_configuration(tmp_path: Path):
    config = load_config(DEMO, [f"serve.root={tmp_path}"])
    assert build({"config": str(DEMO), "overrides": [f"serve.root={tmp_path}"]}) is not None
    assert build({"config": config.model_dump(mode="json")}) is not None


def test_the_models_hash_changes_with_what_paints_a_creative():
    base = Config()
    assert models_digest(base) == models_digest(Config())
    assert models_digest(base) != models_digest(Config.model_validate({"renderer": {"steps": 7}}))
