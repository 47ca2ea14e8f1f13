"""What a line of the log holds."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from caig_rl.logs import OWN_LOGGERS, about, json_lines, listen

LOGGER = logging.getLogger("caig_rl.somewhere")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Everything that is logged during a test, as JSON lines; loggers are left as they were."""
    root, written = logging.getLogger(), io.StringIO()
    names = ["", *OWN_LOGGERS]
    levels = {name: logging.getLogger(name).level for name in names}
    others = {handler: handler.level for handler in root.handlers}
    handler = json_lines(logging.StreamHandler(written), "mugs", "renderer")
    listen([handler], "info")
    yield written
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    for other, level in others.items():
        other.setLevel(level)


def lines(written: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_run_role_process_and_utc_time(stream: io.StringIO):
    LOGGER.info("painted %d\nmugs", 3)
    (line,) = lines(stream)
    assert (line["run"], line["role"], line["level"], line["logger"]) == ("mugs", "renderer", "INFO", "caig_rl.somewhere")
    assert line["message"] == "painted 3\nmugs"
    assert line["time"].endswith("+00:00") and line["pid"] > 0 and line["host"]


def test_lines_carry_the_facts_of_the_blocks_around_them_and_of_no_other(stream: io.StringIO):
    with about(round=3, shard="40-41"), about(admissions=[40, 41]):
        LOGGER.warning("inside")
    LOGGER.warning("outside")
    inside, outside = lines(stream)
    assert (inside["round"], inside["shard"], inside["admissions"]) == (3, "40-41", [40, 41])
    assert "admissions" not in outside


def test_what_a_line_says_itself_goes_before_the_facts_around_it(stream: io.StringIO):
    with about(admissions=[40, 41]):
        LOGGER.warning("one of them failed", extra={"admissions": [41]})
    assert lines(stream)[0]["admissions"] == [41]


def test_tasks_that_run_at_the_same_time_keep_their_own_facts(stream: io.StringIO):
    async def say(name: str) -> None:
        await asyncio.sleep(0)
        LOGGER.info(name)

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            for name in ("a", "b"):
                with about(shard=name):
                    group.create_task(say(name))

    asyncio.run(both())
    assert [(line["message"], line["shard"]) for line in lines(stream)] == [("a", "a"), ("b", "b")]


def test_an_exception_is_part_of_its_line(stream: io.StringIO):
    try:
        raise ValueError("no such mug")
    except ValueError:
        LOGGER.exception("it broke")
    (line,) = lines(stream)
    assert "no such mug" in line["exc_info"]


def test_of_other_libraries_only_warnings_are_kept(stream: io.StringIO):
    logging.getLogger("chatty.library").info("chat")
    logging.getLogger("chatty.library").warning("trouble")
    LOGGER.debug("detail")
    assert [line["message"] for line in lines(stream)] == ["trouble"]


def test_a_handler_that_was_there_before_shows_no_more_than_before():
    root, console = logging.getLogger(), io.StringIO()
    own, before = logging.getLogger("caig_rl"), root.level
    plain, handler = logging.StreamHandler(console), json_lines(logging.StreamHandler(io.StringIO()), "mugs", "controller")
    level = own.level
    others = {other: other.level for other in root.handlers}
    root.addHandler(plain)
    root.setLevel("WARNING")
    try:
        listen([handler], "info")
        LOGGER.info("for the file")
        LOGGER.warning("for both")
    finally:
        root.setLevel(before)
        own.setLevel(level)
        for one in (plain, handler):
            root.removeHandler(one)
        for other, old in others.items():
            other.setLevel(old)
    assert console.getvalue() == "for both\n"
