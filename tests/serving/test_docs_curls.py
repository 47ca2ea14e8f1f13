"""The curls of docs/serving.md, as they are printed there, against the service's own HTTP surface."""

import json
import os
import re
import subprocess
from pathlib import Path

from caig_rl.serving.http.app import create_app
from tests.serving.http.test_app import World, photo
from tests.serving.local_server import served

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


def test_the_curls_of_the_page_order_stream_approve_choose_and_report(tmp_path: Path):
    world = World(tmp_path)
    (tmp_path / "mug.png").write_bytes(photo())
    given = {"KEY": world.service.keys.add("shop"), "PATH": os.environ["PATH"]}
    blocks = [block for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL) if "curl" in block]
    *singles, shown = blocks
    commands = [command for block in singles for command in block.replace("|\n", "| ").splitlines() if not command.startswith("export ")]
    assert len(commands) == 3
    with served(create_app(world.service)) as address:

        def typed(commands: str) -> str:
            text = commands.replace("http://127.0.0.1:8000", address)
            return subprocess.run(["bash", "-ec", text], cwd=tmp_path, env=given, capture_output=True, text=True, check=True).stdout

        form, as_json = (json.loads(typed(command)) for command in commands[:2])
        lines = [json.loads(line) for line in typed(commands[2]).splitlines()]
        # The whole block, which keeps one answer's id for the next call.
        approved, events = (json.loads(answer) for answer in typed(shown).replace("}{", "}\n{").splitlines())
    assert len(form["creatives"]) == len(as_json["creatives"]) == 4
    assert [line["type"] for line in lines] == ["start", *["creative"] * 4, "end"] and len(lines[-1]["ranking"]) == 4
    assert approved["status"] == "approved"
    assert (events["accepted"], events["refused"]) == (2, 0)
