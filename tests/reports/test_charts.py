from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from caig_rl.reports.charts import format_value, line_chart


def test_a_chart_is_well_formed_svg_in_the_pages_colours() -> None:
    svg = line_chart([0, 1, 2], [0.5, 0.6, 0.62], as_percent=True)
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(--accent)" in svg and "currentColor" in svg
    assert "#010101" not in svg and "#020202" not in svg and "#030303" not in svg


def test_a_chart_names_its_last_value() -> None:
    assert "62.0\u00a0%" in line_chart([0, 1], [0.5, 0.62], as_percent=True)


def test_one_round_is_enough_for_a_chart() -> None:
    assert "1.4" in line_chart([0], [1.4])


def test_a_chart_is_the_same_each_time() -> None:
    assert line_chart([0, 1], [1.0, 2.0]) == line_chart([0, 1], [1.0, 2.0])


@pytest.mark.parametrize(("rounds", "values"), [([], []), ([0, 1], [1.0])])
def test_a_chart_of_nothing_is_refused(rounds: list[int], values: list[float]) -> None:
    with pytest.raises(ValueError, match="as many values as rounds"):
        line_chart(rounds, values)


def test_values_have_three_figures_and_a_true_minus() -> None:
    assert (format_value(-0.12345), format_value(0.5, as_percent=True)) == ("\u22120.123", "50.0\u00a0%")
