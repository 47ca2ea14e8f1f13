from pathlib import Path

from caig_rl.config.reference import reference_page


def test_the_configuration_page_is_the_one_the_schema_makes():
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == reference_page(), "run: python -m caig_rl.config.reference docs/configuration.md"
