"""docs/sizing.md says what the code says."""

from pathlib import Path

from caig_rl.sizing.page import gpu_configs, sizing_page

REPOSITORY = Path(__file__).parents[2]


def test_the_sizing_page_is_the_one_made_from_the_configs():
    assert (REPOSITORY / "docs" / "sizing.md").read_text() == sizing_page(gpu_configs(REPOSITORY / "configs"))
