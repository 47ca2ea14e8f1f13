from pathlib import Path

import pytest

from caig_rl.data.clicks.checks import FaultCounter
from caig_rl.data.clicks.reading import read_log
from caig_rl.errors import ClickLogError
from tests.data.clicks.logs import clicks_config

HEADER = "product,creative,impressions,clicks,propensity,share\n"
FAULTY = {
    ",a,10,1,1,1": "product_missing",
    "p,  ,10,1,1,1": "creative_missing",
    "p,a,,1,1,1": "impressions_missing",
    "p,a,ten,1,1,1": "impressions_no_number",
    "p,a,-10,0,1,1": "impressions_negative",
    "p,a,10.5,1,1,1": "impressions_not_whole",
    "p,a,10,,1,1": "clicks_missing",
    "p,a,10,inf,1,1": "clicks_no_number",
    "p,a,10,-1,1,1": "clicks_negative",
    "p,a,10,0.5,1,1": "clicks_not_whole",
    "p,a,10,11,1,1": "clicks_above_impressions",
    "p,a,10,1,,1": "propensity_missing",
    "p,a,10,1,0,1": "propensity_out_of_range",
    "p,a,10,1,1.5,1": "propensity_out_of_range",
    "p,a,10,1,1,": "share_missing",
    "p,a,10,1,1,-0.5": "share_out_of_range",
    "p,a,10": "row_unreadable",
}


def _check(tmp_path: Path, lines: list[str]) -> tuple[FaultCounter, int]:
    path = tmp_path / "log.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    counter = FaultCounter()
    accepted = sum(counter.accepted(batch).num_rows for batch in read_log(clicks_config(path)))
    return counter, accepted


@pytest.mark.parametrize(("line", "reason"), FAULTY.items())
def test_a_faulty_row_has_its_reason_and_is_not_used(tmp_path: Path, line: str, reason: str):
    counter, accepted = _check(tmp_path, ["p,a,10,1,1,0.5", line])
    assert (counter.num_rows, counter.num_faulty, accepted) == (2, 1, 1)
    assert dict(counter.counts) == {reason: 1}
    assert len(counter.examples[reason]) == 1


def test_a_row_with_two_faults_counts_once_and_every_row_is_accounted_for(tmp_path: Path):
    counter, accepted = _check(tmp_path, [",,x,y,9,9", *FAULTY, "p,a,0,0,1,1"])
    assert counter.counts["product_missing"] == 2
    assert counter.num_rows == len(FAULTY) + 2 == accepted + counter.num_faulty


def test_the_first_three_examples_say_where_they_are(tmp_path: Path):
    counter, _ = _check(tmp_path, ["p,a,10,1,1,1"] + ["p,b,10,11,1,1"] * 5)
    assert counter.counts["clicks_above_impressions"] == 5
    first, *rest = counter.examples["clicks_above_impressions"]
    assert len(rest) == 2
    assert first.startswith("log.csv row 2 has more clicks than impressions")
    assert "clicks 11" in first


def test_faults_up_to_the_limit_are_borne_and_more_stop_the_job(tmp_path: Path):
    counter, _ = _check(tmp_path, ["p,a,10,1,1,1"] * 19 + ["p,a,10,11,1,1"])
    counter.check_share(0.05)
    with pytest.raises(ClickLogError, match=r"1 of 20 rows \(5\.0%\).*1 clicks_above_impressions"):
        counter.check_share(0.04)
