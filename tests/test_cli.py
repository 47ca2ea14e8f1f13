"""The command line's own doings: messages, exit codes, and the commands that need no cluster."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from caig_rl import __version__
from caig_rl.cli import app
from caig_rl.cli.chaos import live_on
from caig_rl.errors import UserError
from caig_rl.imaging.views import save_png
from caig_rl.models.folders import resolve_model_folder
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RunSummary
from tests.finished_run import make_summary_values
from tests.imaging.pictures import disc_photo, save

runner = CliRunner()


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    picture = np.full((120, 120, 3), 250, np.uint8)
    picture[30:90, 40:80] = (160, 20, 40)
    save_png(picture, tmp_path / "mug.png")
    (tmp_path / "products.csv").write_text("sku,title,image\n1,Red mug,mug.png\n2,Gone,none.png\n")
    return tmp_path / "products.csv"


def test_brackets_in_a_message_reach_the_reader():
    result = runner.invoke(app, ["train", "imaging.canny=3", "--dry-run"])
    assert result.exit_code == 2
    assert "[" in result.stderr


def test_a_path_that_looks_like_markup_is_named_in_the_error(tmp_path: Path):
    result = runner.invoke(app, ["data", "inspect", f"catalog.path={tmp_path}/[/x].csv"])
    assert result.exit_code == 1
    assert "[/x].csv" in result.stderr


def test_data_inspect_counts_products_and_names_rejected_rows(catalog: Path):
    result = runner.invoke(app, ["data", "inspect", f"catalog.path={catalog}"])
    assert result.exit_code == 0, result.output
    assert "1 product, 1 row rejected" in result.stdout
    assert "image_missing" in result.stdout
    assert result.stdout.count("none.png") == 1
    assert "none.png" not in result.stderr
    assert "row-2  (products.csv row 2)" in result.stdout
    assert "columns that are not read: 'sku'" in result.stdout


def test_data_inspect_takes_a_catalog_where_a_config_stands_and_names_every_row_when_asked(catalog: Path):
    catalog.write_text("title,image\n" + "Red mug,mug.png\n" * 12 + "Gone,none.png\n" * 5)
    short, full = (runner.invoke(app, ["data", "inspect", str(catalog), *more]) for more in ([], ["--all"]))
    assert (short.exit_code, full.exit_code) == (0, 0), short.output
    assert (short.stdout.count("none.png"), full.stdout.count("none.png")) == (3, 5)
    assert (short.stdout.count("  (products.csv row"), full.stdout.count("  (products.csv row")) == (10, 12)
    assert short.stdout.count("and 2 more: --all names every one") == 2
    assert "--all" not in full.stdout


@pytest.fixture
def sixty(tmp_path: Path) -> Path:
    """A catalog of sixty mugs, five of which are held out."""
    for number in range(60):
        save(disc_photo(size=64, radius=20, colour=(180, 40 + number, 30)), tmp_path / f"{number}.png")
    rows = "".join(f"sku-{number},thing {number},mugs,{number}.png\n" for number in range(60))
    (tmp_path / "sixty.csv").write_text(f"product_id,title,category,image\n{rows}")
    return tmp_path / "sixty.csv"


def test_data_inspect_and_a_dry_run_say_how_many_products_are_held_out(sixty: Path, tmp_path: Path):
    told = "5 of 60 products are held out: none of them is trained on"
    assert told in runner.invoke(app, ["data", "inspect", str(sixty)]).stdout
    rehearsed = dry_run(tmp_path, "configs/demo.yaml", f"catalog.path={sixty}")
    assert told in rehearsed.stdout and "products: 55 to train on" in rehearsed.stdout
    none = dry_run(tmp_path, "configs/demo.yaml", f"catalog.path={sixty}", "catalog.heldout_share=0")
    assert "no product is held out" in none.stdout and "products: 60 to train on" in none.stdout
    assert "48 of 560 products are held out" in dry_run(tmp_path, "configs/demo.yaml").stdout


def test_data_inspect_counts_held_out_products_by_category(sixty: Path):
    table = runner.invoke(app, ["data", "inspect", str(sixty)]).stdout
    assert re.search(r"mugs\W+60\W+5\b", table)
    assert "held out" not in runner.invoke(app, ["data", "inspect", str(sixty), "catalog.heldout_share=0"]).stdout.split("cut-outs")[0]


def dry_run(root: Path, *arguments: str) -> Result:
    return runner.invoke(app, ["train", *arguments, f"run.root={root}", "--dry-run"])


def test_a_dry_run_prints_the_resolved_config_and_the_actors_and_makes_nothing(tmp_path: Path):
    result = dry_run(tmp_path / "runs", "configs/demo.yaml", "learner.lr=0.5")
    assert result.exit_code == 0, result.output
    assert "lr: 0.5" in result.stdout
    assert "renderer" in result.stdout
    assert "512 to train on" in result.stdout
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_without_gpus_speaks_of_main_memory_and_one_with_them_of_theirs(tmp_path: Path):
    small = dry_run(tmp_path, "configs/demo.yaml").stdout
    assert "of main memory" in small and "main memory: learner 1 x" in small and "object store 1 GiB =" in small
    assert "GPU memory" not in small and "CUDA" not in small
    large = dry_run(tmp_path, "configs/smolvlm-500m.yaml").stdout
    assert "of GPU memory" in large and "CUDA" in large and "main memory" not in large


def test_a_dry_run_says_what_a_ray_of_this_machine_would_lack(tmp_path: Path):
    alone = "on a Ray of this machine alone it would be refused: the run reserves"
    crowded = ("configs/demo.yaml", "pools.renderer.workers=9", "cluster.num_cpus=2")
    assert alone not in dry_run(tmp_path, "configs/demo.yaml", "cluster.num_cpus=2").stdout
    assert f"{alone} learner 1 x 0.4 + policy 1 x 0.4 + renderer 9 x 0.4" in dry_run(tmp_path, *crowded).stdout
    assert alone not in dry_run(tmp_path, *crowded, "cluster.address=head:6379").stdout


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("catalog.path={}/none.csv", "none.csv"),
        ("catalog.path={}/all_bad.csv", "image_missing"),
        ("policy.model={}/none", "there is no folder"),
        ("policy.model={}", "no config.json"),
        ("reward.model={}/none", "give the folder of a reward model"),
        ("renderer.model={}/none", "give the folder of a renderer model"),
        ("run.name=taken", "already holds a run"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would_refuse_in_the_same_words(tmp_path: Path, override: str, said: str):
    (tmp_path / "all_bad.csv").write_text("title,image\nMug,none.png\n")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.yaml").touch()
    given = override.format(tmp_path)
    rehearsed = dry_run(tmp_path, "configs/demo.yaml", given)
    real = runner.invoke(app, ["train", "configs/demo.yaml", f"run.root={tmp_path}", given])
    assert (rehearsed.exit_code, real.exit_code) == (1, 1)
    assert said in rehearsed.stderr
    assert rehearsed.stderr == real.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all_bad.csv", "taken"]


@pytest.mark.parametrize("name", ["llava16-7b-paper", "qwen25-vl-7b", "smolvlm-500m"])
def test_a_production_config_is_planned_on_a_machine_without_its_models_and_says_what_it_will_need(tmp_path: Path, name: str):
    result = dry_run(tmp_path, f"configs/{name}.yaml")
    assert result.exit_code == 0, result.output
    for kind in ("policy", "renderer", "reward"):
        assert f"{kind}.model = /models/" in result.stdout
    real = runner.invoke(app, ["train", f"configs/{name}.yaml", f"run.root={tmp_path}"])
    assert real.exit_code == 1 and "give the folder of a policy model" in real.stderr


def test_a_model_folder_that_is_there_and_wrong_is_refused_though_its_architecture_is_named(tmp_path: Path):
    result = dry_run(tmp_path, "configs/smolvlm-500m.yaml", f"policy.model={tmp_path}")
    assert result.exit_code == 1 and "no config.json" in result.stderr


def test_a_run_in_a_store_of_no_known_kind_is_an_error_of_one_line():
    for more in ([], ["--dry-run"]):
        result = runner.invoke(app, ["train", "run.root=nowhere://runs", *more])
        assert result.exit_code == 1
        assert "nowhere://runs/demo cannot be reached" in result.stderr and "Traceback" not in result.output


def test_world_draws_a_picture_and_a_log(tmp_path: Path):
    result = runner.invoke(app, ["world", "--out", str(tmp_path), "--num-products", "6"])
    assert result.exit_code == 0, result.output
    assert Image.open(tmp_path / "world.png").width > 500
    assert (tmp_path / "clicks.parquet").stat().st_size > 0
    assert f"wrote {tmp_path}/creatives" in result.stdout


@pytest.mark.parametrize("wrong", [["--num-products", "0"], ["--seed", "-1"], ["--creatives", "0"]])
def test_world_refuses_numbers_out_of_range(tmp_path: Path, wrong: list[str]):
    result = runner.invoke(app, ["world", "--out", str(tmp_path), *wrong])
    assert result.exit_code == 2
    assert wrong[0] in result.stderr


def test_world_refuses_a_file_as_its_folder_before_it_draws(tmp_path: Path):
    (tmp_path / "taken").touch()
    result = runner.invoke(app, ["world", "--out", str(tmp_path / "taken"), "--num-products", "100000"])
    assert result.exit_code == 1
    assert "taken" in result.stderr


def test_the_version_is_printed_alone():
    assert runner.invoke(app, ["--version"]).stdout == f"caig-rl {__version__}\n"


def test_two_ways_to_resume_contradict_each_other():
    result = runner.invoke(app, ["train", "--resume", "--resume-if-any", "--dry-run"])
    assert result.exit_code == 2
    assert "--resume-if-any" in result.stderr


@pytest.mark.parametrize("command", [["data", "pairs"], ["reward", "train"], ["reward", "eval"]])
def test_a_click_log_that_is_not_named_exits_2_and_one_that_is_missing_1(tmp_path: Path, command: list[str]):
    out = f"clicks.out={tmp_path}/out"
    assert runner.invoke(app, [*command, out]).exit_code == 2
    result = runner.invoke(app, [*command, out, f"clicks.path={tmp_path}/none.parquet"])
    assert result.exit_code == 1
    assert "no click log at" in result.stderr


def test_pictures_that_the_log_held_as_bytes_need_no_folder(tmp_path: Path):
    world = runner.invoke(app, ["world", "--out", str(tmp_path), "--num-products", "12", "--creatives", "3"])
    assert world.exit_code == 0, world.output
    log = pq.read_table(tmp_path / "clicks.parquet")
    content = pa.array([(tmp_path / name).read_bytes() for name in log["image"].to_pylist()], pa.binary())
    pq.write_table(log.set_column(log.schema.get_field_index("image"), "image", content), tmp_path / "bytes.parquet")
    out = f"clicks.out={tmp_path}/pairs"
    made = runner.invoke(app, ["data", "pairs", f"clicks.path={tmp_path}/bytes.parquet", out, "clicks.heldout_share=0.5"])
    assert made.exit_code == 0, made.output
    (tmp_path / "bytes.parquet").unlink()
    result = runner.invoke(app, ["reward", "eval", out])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "pairs" / "reward_eval.json").read_text())["models"]["nano"]["failed"] == 0


def test_a_run_in_a_store_is_looked_up_there_and_not_on_the_disk():
    RunFolder("memory://shelf", "job").write_text("config.yaml", "run: {}\n")
    result = runner.invoke(app, ["status", "memory://shelf/job", "--once"])
    assert result.exit_code == 0, result.output
    for command in (["report"], ["evaluate", "policy"]):
        result = runner.invoke(app, [*command, "memory://shelf/none"])
        assert result.exit_code == 1
        assert "memory://" in result.stderr


def test_evaluating_a_folder_that_is_no_run_says_so(tmp_path: Path):
    result = runner.invoke(app, ["evaluate", "policy", str(tmp_path)])
    assert result.exit_code == 1
    assert "not a run folder" in result.stderr


def test_the_embedded_reward_model_says_how_good_it_is():
    metrics = json.loads((resolve_model_folder("nano", "reward") / "metrics.json").read_text())
    assert 0.65 < metrics["heldout_accuracy"] < metrics["ceiling"] < 1


def _write_click_log(path: Path) -> Path:
    lines = ["sku,ad,impressions,clicks"]
    lines += [f"p{p},p{p}-{c},{2000 + 3 * p + c},{30 + 13 * c + p % 7}" for p in range(40) for c in range(3)]
    path.write_text("\n".join([*lines, "p0,,5,1"]) + "\n")
    return path


def test_data_pairs_writes_its_files_and_says_what_became_of_the_log(tmp_path: Path):
    log = _write_click_log(tmp_path / "clicks.csv")
    mapping = ["clicks.columns.product=sku", "clicks.columns.creative=ad"]
    result = runner.invoke(app, ["data", "pairs", f"clicks.path={log}", f"clicks.out={tmp_path}/out", *mapping])
    assert result.exit_code == 0, result.output
    assert "creative_missing" in result.stdout and "sku" not in result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "clicks.html",
        "clicks.json",
        "creatives.parquet",
        "pairs.parquet",
    ]
    assert json.loads((tmp_path / "out" / "clicks.json").read_text())["faults"]["creative_missing"]["count"] == 1


def test_data_pairs_without_a_log_and_with_none_left_exit_2_and_1(tmp_path: Path):
    assert runner.invoke(app, ["data", "pairs"]).exit_code == 2
    log = _write_click_log(tmp_path / "clicks.csv")
    given = [f"clicks.path={log}", f"clicks.out={tmp_path}/out", "clicks.columns.product=sku", "clicks.columns.creative=ad"]
    result = runner.invoke(app, ["data", "pairs", *given, "clicks.min_impressions=9999"])
    assert result.exit_code == 1
    assert "rows read 121" in result.stderr


def test_data_inspect_says_which_known_columns_are_not_used(tmp_path: Path):
    log = tmp_path / "clicks.csv"
    rows = [f"c,p{p},p{p}-{c},{1000 + p + c},{20 + c},{p % 7},mobile" for p in range(30) for c in range(2)]
    log.write_text("\n".join(["test,product,creative,impressions,clicks,dt,segment", *rows]) + "\n")
    result = runner.invoke(app, ["data", "inspect", f"clicks.path={log}", "clicks.columns.day=dt"])
    assert result.exit_code == 0, result.output
    output = " ".join(result.stdout.split())
    assert "not used, nothing is corrected for them: day, segment" in output
    assert "1 tests of the log span several products" in output and "30 split as designed" in output


def test_data_inspect_reads_a_click_log_and_writes_nothing(tmp_path: Path):
    log = _write_click_log(tmp_path / "clicks.csv")
    given = [f"clicks.path={log}", f"clicks.out={tmp_path}/out", "clicks.columns.product=sku", "clicks.columns.creative=ad"]
    result = runner.invoke(app, ["data", "inspect", *given])
    assert result.exit_code == 0, result.output
    assert "split as designed" in result.stdout
    assert not (tmp_path / "out").exists()


def test_a_reward_model_is_measured_on_a_world_log_from_end_to_end(tmp_path: Path):
    result = runner.invoke(app, ["world", "--out", str(tmp_path), "--num-products", "12", "--creatives", "3"])
    assert result.exit_code == 0, result.output
    clicks = [f"clicks.path={tmp_path}/clicks.parquet", f"clicks.out={tmp_path}/pairs", "clicks.heldout_share=0.5"]
    assert runner.invoke(app, ["data", "pairs", *clicks]).exit_code == 0
    folder = resolve_model_folder("nano", "reward")
    result = runner.invoke(app, ["reward", "eval", *clicks, "--also", str(folder)])
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "pairs" / "reward_eval.json").read_text())
    assert set(content["models"]) == {"nano", str(folder)}
    assert content["models"]["nano"]["failed"] == 0
    assert (tmp_path / "pairs" / "reward_eval.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    "command", [["reward", "train", f"reward.train.backbone={resolve_model_folder('nano', 'policy')}"], ["reward", "eval"]]
)
def test_pictures_of_a_log_in_a_store_are_asked_for_by_a_local_folder(tmp_path: Path, command: list[str]):
    lines = [f"p{p},c{c},{p}/{c}.png,4000,{60 + 40 * c}" for p in range(40) for c in range(2)]
    (tmp_path / "clicks.csv").write_text("\n".join(["product,creative,image,impressions,clicks", *lines]) + "\n")
    out = [f"clicks.out={tmp_path}/out", f"{'reward.train.out' if 'train' in command else 'run.root'}={tmp_path}/model"]
    assert runner.invoke(app, ["data", "pairs", f"clicks.path={tmp_path}/clicks.csv", out[0]]).exit_code == 0
    for more in ([], ["clicks.images=s3://bucket/pictures"]):
        result = runner.invoke(app, [*command, *out, "clicks.path=s3://bucket/clicks.csv", *more])
        assert result.exit_code == 2, result.output
        assert "pictures are read from local folders" in result.stderr
    missing = runner.invoke(app, [*command, *out, "clicks.path=s3://bucket/clicks.csv", f"clicks.images={tmp_path}/pictures"])
    assert missing.exit_code == 1
    assert f"in {tmp_path}/pictures, the folder of the pictures (clicks.images)" in missing.stderr


def test_reward_eval_without_pairs_says_what_to_run(tmp_path: Path):
    result = runner.invoke(app, ["reward", "eval", f"clicks.out={tmp_path}", f"clicks.images={tmp_path}"])
    assert result.exit_code == 1
    assert "caig-rl data pairs" in result.stderr


@pytest.mark.parametrize("command", ["train", "chaos"])
def test_a_job_that_always_gives_the_same_command_starts_at_first_and_goes_on_later(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[bool] = []

    def run_online(config, *sources, resume, console, **others):
        asked.append(resume)
        (tmp_path / "job").mkdir(exist_ok=True)
        (tmp_path / "job" / "config.yaml").write_text("begun, and cut short before any checkpoint")
        return RunSummary.model_validate(make_summary_values(status="stopped"))

    monkeypatch.setattr("actors.launch.train.run_online", run_online)
    for _ in range(2):
        stopped = runner.invoke(app, [command, f"run.root={tmp_path}", "run.name=job", "--resume-if-any"])
        assert stopped.exit_code == 75, stopped.output
    assert asked == [False, True]


def test_a_driver_that_was_killed_is_started_again_until_it_ends_by_itself():
    codes = [-9, -9, 75]
    assert live_on(lambda life: codes[life]) == 75
    with pytest.raises(UserError, match="killed 100 times"):
        live_on(lambda life: -9)


def test_chaos_with_driver_faults_is_lived_by_children_and_passes_their_exit_code_on(monkeypatch: pytest.MonkeyPatch):
    lives: list[int] = []
    monkeypatch.setattr("caig_rl.cli.chaos.start_life", lambda life: lives.append(life) or (-9 if life < 2 else 0))
    assert runner.invoke(app, ["chaos", "--kinds", "driver,worker"]).exit_code == 0
    assert lives == [0, 1, 2]


def test_a_fault_that_there_is_not_is_answered_with_those_there_are():
    result = runner.invoke(app, ["chaos", "--kinds", "worker,flood"])
    assert result.exit_code == 2 and "'flood': there are worker, rank, node, driver" in result.stderr
