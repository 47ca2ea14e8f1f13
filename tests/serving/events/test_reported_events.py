"""Events are answered item by item, logged durably, and counted once."""

import os
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from caig_rl.serving.creatives.store import CreativeStore
from caig_rl.serving.events.click_counts import ClickCounts
from caig_rl.serving.events.click_log import CLICK_LOG_SCHEMA, click_log, read_impressions
from caig_rl.serving.events.event_log import EventLog, EventReader, encode_line
from caig_rl.serving.events.impressions import Impression, mint
from caig_rl.serving.events.reported_events import Event, judge_events
from caig_rl.serving.events.signing import Signer

SHOWN = Impression("acme", "c1", "sku/7 é", "shoes", "gift givers", 1, "v1", "live", 0.9, "v2", "base", "shelf", 0.25, 1000.0)


def impression(number: int, **changes: object) -> Impression:
    return replace(SHOWN, nonce=f"n{number:06d}", **changes)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


def codes(items: list[dict], signer: Signer, tenant: str = "acme", now: float = 2000.0) -> list[str]:
    return [verdict.code if verdict.event is None else "accepted" for verdict in judge_events(items, tenant, signer, now)]


def test_each_item_gets_its_own_answer(signer: Signer):
    good = mint(SHOWN, signer)
    other = mint(replace(SHOWN, tenant="other"), signer)
    items = [
        {"impression_id": good, "kind": "impression"},
        {"impression_id": good, "kind": "click", "time": 1500},
        {"impression_id": good, "kind": "click", "time": 1500},
        {"impression_id": good + "x", "kind": "click"},
        {"impression_id": 7, "kind": "click"},
        {"impression_id": other, "kind": "click"},
        {"impression_id": good, "kind": "view"},
        {"impression_id": good, "kind": "click", "time": 5000},
        {"impression_id": good, "kind": "click", "time": 100},
        {"impression_id": good, "kind": "click", "time": -1},
        {"impression_id": good, "kind": "click", "time": float("nan")},
        {"impression_id": good, "kind": "click", "time": True},
        {"impression_id": good, "kind": "click", "time": "now"},
        {"impression_id": good, "kind": "click", "clicks": -3},
        {"impression_id": good, "kind": "click", "count": 50},
        {"impression_id": good, "kind": "click", "\ud800": 1},
        {"kind": "click"},
        {"impression_id": good},
        {},
        7,
        None,
        {"impression_id": good, "kind": "click", "time": None},
    ]
    assert codes(items, signer) == [
        "accepted", "accepted", "accepted", "bad_signature", "bad_signature", "bad_signature", "wrong_kind",
        "from_the_future", "before_its_impression", "wrong_time", "wrong_time", "wrong_time", "wrong_time",
        "unknown_field", "unknown_field", "unknown_field", "missing", "missing", "missing", "no_object", "no_object", "accepted",
    ]  # fmt: skip
    fields = [verdict.field for verdict in judge_events(items, "acme", signer, 2000.0)]
    assert fields == [
        "", "", "", "impression_id", "impression_id", "impression_id", "kind", "time", "time", "time", "time", "time", "time",
        "clicks", "count", "?", "impression_id", "kind", "impression_id", "events.19", "events.20", "",
    ]  # fmt: skip


def test_a_click_a_year_late_is_accepted(signer: Signer):
    item = {"impression_id": mint(SHOWN, signer), "kind": "click", "time": 1000 + 365 * 86400}
    assert codes([item], signer, now=1000 + 366 * 86400) == ["accepted"]


def test_an_event_comes_out_of_the_log_as_it_went_in_and_once(tmp_path: Path):
    event = Event("click", SHOWN, 1001.5)
    for _ in range(2):
        EventLog(tmp_path).append([event, event, Event("impression", SHOWN, 1000.5)])
    assert [one.kind for one in EventReader(tmp_path).new_events()] == ["click", "impression"]
    assert next(EventReader(tmp_path).new_events()) == event


def test_a_reader_hands_out_only_what_came_since(tmp_path: Path):
    log, reader = EventLog(tmp_path), EventReader(tmp_path)
    assert list(reader.new_events()) == []
    for number in range(3):
        log.append([Event("impression", impression(number), 1000.0)])
        assert [event.impression.nonce for event in reader.new_events()] == [f"n{number:06d}"]


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_torn_last_line_is_left_out_and_read_once_it_is_whole(tmp_path: Path, cut: int):
    log, reader = EventLog(tmp_path), EventReader(tmp_path)
    log.append([Event("impression", impression(0), 1000.0)])
    (path,) = (tmp_path / "events").iterdir()
    line = encode_line(Event("impression", impression(1), 1000.0))
    with path.open("ab") as file:
        file.write(line[:-cut])
    assert [event.impression.nonce for event in reader.new_events()] == ["n000000"]
    with path.open("ab") as file:
        file.write(line[-cut:])
    assert [event.impression.nonce for event in reader.new_events()] == ["n000001"]
    assert reader.damaged == 0


def test_a_damaged_line_is_counted_and_does_not_hide_what_follows(tmp_path: Path):
    EventLog(tmp_path).append([Event("impression", impression(number), 1000.0) for number in range(3)])
    (path,) = (tmp_path / "events").iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.write_bytes(content)
    reader = EventReader(tmp_path)
    assert [event.impression.nonce for event in reader.new_events()] == ["n000000", "n000002"]
    assert reader.damaged == 1


def test_after_a_failed_write_later_events_go_to_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = EventLog(tmp_path)
    log.append([Event("impression", impression(0), 1000.0)])
    really_write = os.write

    def full_disk(descriptor: int, data: memoryview) -> int:
        really_write(descriptor, data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(OSError, match="No space"):
        log.append([Event("impression", impression(1), 1000.0)])
    monkeypatch.undo()
    log.append([Event("impression", impression(2), 1000.0)])
    reader = EventReader(tmp_path)
    assert sorted(event.impression.nonce for event in reader.new_events()) == ["n000000", "n000002"]
    assert reader.damaged == 0


def test_a_line_of_another_release_is_counted_and_a_file_that_was_archived_meanwhile_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    EventLog(tmp_path).append([Event("impression", impression(0), 1000.0)])
    (path,) = (tmp_path / "events").iterdir()
    body = b'{"kind": "impression", "time": 1.0, "at": 1.0, "colour": "red"}'
    path.write_bytes(b"%08x %s\n" % (zlib.crc32(body), body) + path.read_bytes())
    reader = EventReader(tmp_path)
    assert [event.impression.nonce for event in reader.new_events()] == ["n000000"]
    assert reader.damaged == 1
    listed = list(os.scandir(tmp_path / "events"))
    path.unlink()
    monkeypatch.setattr("caig_rl.serving.events.event_log.os.scandir", lambda _: listed)
    assert list(EventReader(tmp_path).new_events()) == []


def test_a_full_file_is_followed_by_another(tmp_path: Path):
    log = EventLog(tmp_path, max_file_bytes=1000)
    for number in range(12):
        log.append([Event("impression", impression(number), 1000.0)])
    assert len(list((tmp_path / "events").iterdir())) > 2
    assert len(list(EventReader(tmp_path).new_events())) == 12


def test_what_a_killed_process_acknowledged_is_in_the_log(tmp_path: Path):
    """The writer says each number after `append` returned, and is killed at some point: what it said must be there."""
    script = (
        "import sys, pathlib\n"
        "from caig_rl.serving.events.impressions import Impression\n"
        "from caig_rl.serving.events.event_log import EventLog\n"
        "from caig_rl.serving.events.reported_events import Event\n"
        "log = EventLog(pathlib.Path(sys.argv[1]))\n"
        "for number in range(int(sys.argv[2]), 10**9, 3):\n"
        "    ids = [f'n{number + k:06d}' for k in range(3)]\n"
        "    log.append([Event('impression', Impression(*['x'] * 5, 1, 'v', 'a', 0.5, '', 'v', 's', 0.5, 1.0, one), 2.0) for one in ids])\n"
        "    print(number, flush=True)\n"
    )
    said: set[int] = set()
    for turn in range(3):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(turn * 100_000)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(20 + 30 * turn):
            said.add(int(process.stdout.readline()))
        process.kill()
        said |= {int(line) for line in process.stdout.read().split("\n") if line.strip()}
        process.wait()
    found = [event.impression.nonce for event in EventReader(tmp_path).new_events()]
    assert {f"n{number + k:06d}" for number in said for k in range(3)} <= set(found)
    assert len(found) == len(set(found))


def test_impressions_and_clicks_are_summed_by_creative_position_shelf_and_propensity(tmp_path: Path):
    changes = ({}, {}, {"position": 2}, {"creative_id": "c2"}, {"tenant": "other"}, {"propensity": 0.5}, {"shelf": "later"})
    shown = [impression(number, **change) for number, change in enumerate(changes)]
    events = [Event("impression", one, 1001.0) for one in shown]
    events += [Event("click", shown[1], 1002.0), Event("click", shown[1], 1003.0)]
    # Its impression was never reported: the click proves it.
    events.append(Event("click", impression(9, creative_id="c2"), 1004.0))
    EventLog(tmp_path).append(events)
    log = click_log(read_impressions(tmp_path, "acme"), CreativeStore(tmp_path))
    assert log.schema == CLICK_LOG_SCHEMA
    names = ("creative_id", "test_id", "position", "propensity", "impressions", "clicks")
    assert [tuple(row[name] for name in names) for row in log.to_pylist()] == [
        ("c1", "sku/7 é later", 1, 0.25, 1, 0),
        ("c1", "sku/7 é shelf", 1, 0.25, 2, 1),
        ("c1", "sku/7 é shelf", 1, 0.5, 1, 0),
        ("c1", "sku/7 é shelf", 2, 0.25, 1, 0),
        ("c2", "sku/7 é shelf", 1, 0.25, 2, 1),
    ]
    assert log["image"].null_count == log.num_rows, "none of these creatives is kept"
    assert read_impressions(tmp_path).num_rows == 8
    assert click_log(read_impressions(tmp_path, "nobody"), CreativeStore(tmp_path)).num_rows == 0


def test_the_counts_agree_with_the_log_and_grows_with_it(tmp_path: Path):
    log, click_counts = EventLog(tmp_path), ClickCounts(tmp_path)
    log.append([Event("impression", impression(0), 1001.0), Event("impression", impression(1, segment="x"), 1001.0)])
    assert click_counts.refresh() == 2
    log.append([Event("click", impression(0), 1002.0), Event("impression", impression(0), 1001.0), Event("click", impression(5), 1.0)])
    assert click_counts.refresh() == 2
    counts = click_counts.of("c1")
    assert (counts.impressions, counts.clicks, counts.of("gift givers"), counts.of("x")) == (3, 2, (2, 2), (1, 0))
    assert click_counts.of("unknown").impressions == 0
