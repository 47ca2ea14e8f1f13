"""The documentation builds without a broken link, and what it tells a reader to type is what there is."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from caig_rl.ablation.cells import make_plan
from caig_rl.ablation.config import load_ablation
from caig_rl.cli import app
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError

REPOSITORY = Path(__file__).parents[1]
PAGES = sorted((REPOSITORY / "docs").rglob("*.md"))
BLOCKS = [(page, kind, body) for page in PAGES for kind, body in re.findall(r"```(\w+)\n(.*?)```", page.read_text(), re.DOTALL)]
README = REPOSITORY / "README.md"
LINES = [
    (page.name, line.strip())
    for page, kind, body in BLOCKS
    if kind == "bash"
    for line in body.replace("\\\n", " ").splitlines()
    if not line.startswith(" ")
]
"""What a reader types."""
STANDS_FOR = {
    "CONFIG": "configs/demo.yaml",
    "RUN[@STEP]": "runs/first@8",
    "RUN": "runs/first",
    "CATALOG": "products.csv",
    "ADDRESS": "http://127.0.0.1:8265",
    "URL": "http://127.0.0.1:8265",
    "TENANT": "shop",
    "[KEY=VALUE]...": "run.seed=1",
    "clicks.path=...": "clicks.path=log.parquet",
}
"""Words in the commands of running text, and one thing that each may be."""
SPANS = [
    (page.name, span)
    for page in (README, *PAGES)
    for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", page.read_text())
    if page.name != "decisions.md"
]
"""Code in running text. Decisions speak of what was, too."""


def commands() -> list[tuple[str, str]]:
    """Every `caig-rl` command that README or docs tell a reader to type."""
    typed = [(page, command) for page, line in LINES for command in re.findall(r"(?:^|\$\()(caig-rl [^)]*)", line)]
    written = [(page, span.replace("[--traffic 0.1]", "--traffic 0.1")) for page, span in SPANS if re.match(r"caig-rl \S", span)]
    return list(dict.fromkeys([*typed, *written]))


COMMANDS = commands()


def build(docs: Path, site: Path) -> subprocess.CompletedProcess[str]:
    config = site.parent / "mkdocs.yml"
    text = (REPOSITORY / "mkdocs.yml").read_text().replace("docs_dir: docs", f"docs_dir: {docs}")
    config.write_text(text.replace("docs/api_pages.py", str(REPOSITORY / "docs" / "api_pages.py")))
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(config), "--site-dir", str(site)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_pages_build_and_every_link_leads_somewhere(tmp_path: Path):
    done = build(REPOSITORY / "docs", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "operations" / "index.html").is_file()
    reference = (tmp_path / "site" / "api" / "objectives" / "index.html").read_text()
    assert "def dpo_loss(" in reference and "_loss_sums" not in reference


def test_a_broken_link_fails_the_build(tmp_path: Path):
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    (tmp_path / "docs" / "index.md").write_text("[gone](nowhere.md)\n")
    done = build(tmp_path / "docs", tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr


def parse(line: str) -> None:
    """Take a command line apart as `caig-rl` would, and load the config that it names. Raises what that raises."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(line, comments=True)[1:]]
    # Typer brings a click of its own: its groups are not those of the package click.
    command: Any = typer.main.get_command(app)
    name = []
    while isinstance(command, TyperGroup):
        name.append(words.pop(0))
        command = command.commands[name[-1]]
    command.make_context(" ".join(name), list(words))
    overrides = [word for word in words if re.fullmatch(r"[a-z_.]+=\S+", word)]
    config = next((word for word in words if word.endswith(".yaml")), None)
    if (name == ["ablate"] or words[:1] == ["ablate"]) and config is not None:
        only = words[words.index("--only") + 1].split(",") if "--only" in words else None
        make_plan(load_ablation(REPOSITORY / config), overrides, only)
        return
    load_config(None if config is None else REPOSITORY / config, overrides)


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line[:60]}" for page, line in COMMANDS])
def test_every_command_in_the_docs_is_one_that_is_taken(page: str, line: str):
    parse(line)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("caig-rl trian configs/demo.yaml", KeyError),
        ("caig-rl train configs/demo.yaml --resum", TyperException),
        ("caig-rl train configs/demo.yaml learner.rate=1", ConfigError),
        ("caig-rl evaluate policy", TyperException),
        ("caig-rl ablate configs/ablate.yaml --only pcop", ConfigError),
    ],
)
def test_a_command_that_is_not_taken_would_be_found(line: str, error: type[Exception]):
    with pytest.raises(error):
        parse(line)


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 40


def test_every_file_that_is_named_is_there():
    places = tuple(f"{top}/" for top in ("actors", "benchmarks", "caig_rl", "cluster", "configs", "docs", "requirements", "tests"))
    words = [(page, word) for page, text in [*SPANS, *LINES] for word in re.split(r"[\s=,;:]+", text) if word.startswith(places)]
    assert len(words) > 40
    assert [(page, word) for page, word in words if not (REPOSITORY / word).exists()] == []


def test_every_benchmark_that_is_named_takes_the_options_it_is_given():
    call = re.compile(r"python (?:-m benchmarks\.|benchmarks/)(\w+)(?:\.py)?(.*)")
    named = [(page, *found) for page, text in [*SPANS, *LINES] for found in call.findall(text)]
    assert len(named) >= 7
    for page, name, rest in named:
        source = (REPOSITORY / "benchmarks" / f"{name}.py").read_text()
        for option in re.findall(r"--[a-z-]+", rest):
            assert f'"{option}"' in source, f"{page}: {name} takes no {option}"


def test_every_target_of_make_that_is_named_is_there():
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", makefile, re.MULTILINE))
    known = {name for line in targets for name in line.split()}
    text = README.read_text() + "".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE))
    assert {"demo", "setup", "test"} <= named <= known


def test_every_key_that_is_named_is_a_key_of_the_configuration():
    table = (REPOSITORY / "docs" / "configuration.md").read_text()
    keys = set(re.findall(r"^\| `([a-z_.0-9]+)`", table, re.MULTILINE))
    known = keys | {key.rsplit(".", n)[0] for key in keys for n in range(1, key.count(".") + 1)}
    pattern = re.compile(rf"(?:^|\s)((?:{'|'.join(Config.model_fields)})\.[a-z_.]*[a-z_])(?=[=\s]|$)")
    named = {(page, key) for page, span in SPANS if page != "configuration.md" for key in pattern.findall(span)}
    assert len(named) > 40
    files = (".json", ".html", ".parquet")
    assert {(page, key) for page, key in named if key not in known and not key.endswith(files)} == set()


@pytest.mark.parametrize("body", [body for _, kind, body in BLOCKS if kind == "python"])
def test_every_name_that_an_example_imports_is_there(body: str):
    compile(body, "example", "exec")
    exec("\n".join(line for line in body.splitlines() if line.startswith(("import ", "from "))), {})


def test_the_messages_that_operations_explains_are_said_by_the_code():
    source = "\n".join(path.read_text() for top in ("caig_rl", "actors") for path in (REPOSITORY / top).rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    table = (REPOSITORY / "docs" / "operations.md").read_text().partition("## Failures")[2].partition("## Upgrade")[0]
    messages = re.findall(r"^\| `(.+?)`", table, re.MULTILINE)
    assert len(messages) > 10
    for message in messages:
        fragment = max(re.split(r"\.\.\.|: | = ", message), key=len).strip()
        assert fragment in source, f"{message!r}: {fragment!r} is not in the code"
