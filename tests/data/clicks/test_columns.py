import pytest

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.columns import map_log_columns
from caig_rl.errors import ClickLogError, ConfigError

PRESENT = ["product_id", "ad", "impressions", "clicks", "head", "image"]


def test_columns_are_found_by_mapping_by_name_and_by_alias():
    columns = map_log_columns("log.csv", PRESENT, ClicksConfig(columns={"creative": "ad"}))
    assert columns.sources["product"] == ("product_id",)
    assert columns.sources["creative"] == ("ad",)
    assert "propensity" not in columns


def test_two_columns_join_into_one_unless_a_column_has_that_very_name():
    joined = map_log_columns("log.csv", PRESENT, ClicksConfig(columns={"creative": "head + image"}))
    assert joined.sources["creative"] == ("head", "image")
    literal = map_log_columns("log.csv", [*PRESENT, "head + image"], ClicksConfig(columns={"creative": "head + image"}))
    assert literal.sources["creative"] == ("head + image",)


def test_a_missing_column_is_named_with_the_nearest_one():
    with pytest.raises(ClickLogError, match=r"no column 'creative'.*clicks\.columns\.creative"):
        map_log_columns("log.csv", PRESENT, ClicksConfig())
    with pytest.raises(ClickLogError, match=r"no column 'add' \(nearest: 'ad'\)"):
        map_log_columns("log.csv", PRESENT, ClicksConfig(columns={"creative": "add"}))


def test_a_log_without_impressions_is_asked_whether_it_holds_events():
    present = ["product", "creative", "clicks"]
    with pytest.raises(ClickLogError, match=r"clicks\.form=events"):
        map_log_columns("log.csv", present, ClicksConfig())
    assert "impressions" not in map_log_columns("log.csv", present, ClicksConfig(form="events"))


def test_a_key_that_is_no_column_of_ours_is_refused():
    with pytest.raises(ConfigError, match="nearest: 'creative'"):
        map_log_columns("log.csv", PRESENT, ClicksConfig(columns={"creatives": "ad"}))


def test_a_column_that_is_there_twice_is_refused():
    with pytest.raises(ClickLogError, match="2 columns named 'clicks'"):
        map_log_columns("log.csv", ["product", "creative", "impressions", "clicks", "clicks"], ClicksConfig())


def test_what_the_log_holds_and_nothing_uses_is_known_by_name_and_by_mapping():
    columns = map_log_columns("log.csv", [*PRESENT, "dt", "position"], ClicksConfig(columns={"creative": "ad", "day": "dt"}))
    assert columns.unused == ("day", "position")
    assert not {"dt", "position"} & set(columns.wanted)
    with pytest.raises(ClickLogError, match="no column 'tag'"):
        map_log_columns("log.csv", PRESENT, ClicksConfig(columns={"creative": "ad", "segment": "tag"}))


def test_an_empty_name_leaves_a_column_out_unless_it_is_required():
    columns = map_log_columns("log.csv", PRESENT, ClicksConfig(columns={"creative": "ad", "image": ""}))
    assert "image" not in columns
    with pytest.raises(ClickLogError, match=r"clicks\.columns\.creative is empty"):
        map_log_columns("log.csv", PRESENT, ClicksConfig(columns={"creative": ""}))


def test_the_column_of_segments_is_read_and_needed_where_segments_are_told_apart():
    config = ClicksConfig(columns={"creative": "ad"})
    present = [*PRESENT, "segment", "position"]
    found = map_log_columns("log.csv", present, config, by_segment=True)
    assert found.sources["segment"] == ("segment",) and found.unused == ("position",)
    without = map_log_columns("log.csv", present, config)
    assert "segment" not in without and set(without.unused) == {"segment", "position"}
    with pytest.raises(ClickLogError, match=r"clicks\.columns\.segment"):
        map_log_columns("log.csv", PRESENT, config, by_segment=True)
