import pytest

from caig_rl.config.serve import ServeConfig
from caig_rl.serving.creatives.rules import Rules

RULES = {"banned_words": "casino, free money", "brand_rules": {"acme": "neon", "acme/Shoes": "snow"}}


@pytest.mark.parametrize(
    ("tenant", "category", "prompt", "word"),
    [
        ("acme", "mugs", "a CASINO, at night", "casino"),
        ("other", "mugs", "free-money everywhere", "free money"),
        ("acme", "mugs", "a ｎｅｏｎ city", "neon"),
        ("acme", "shoes", "fresh snow", "snow"),
    ],
)
def test_a_prompt_with_a_banned_word_is_refused_and_the_rule_is_named(tenant: str, category: str, prompt: str, word: str):
    for approval in ("manual", "rules"):
        rules = Rules(ServeConfig.model_validate({**RULES, "approval": approval}))
        assert word in rules.objection(tenant, category, prompt)
        assert rules.first_status(tenant, category, prompt) == "refused"


@pytest.mark.parametrize(("tenant", "category", "prompt"), [("other", "mugs", "neon"), ("acme", "mugs", "snow, occasional light")])
def test_what_no_rule_names_waits_for_a_person_or_passes_as_the_operator_set(tenant: str, category: str, prompt: str):
    assert Rules(ServeConfig.model_validate(RULES)).first_status(tenant, category, prompt) == "pending"
    assert Rules(ServeConfig.model_validate({**RULES, "approval": "rules"})).first_status(tenant, category, prompt) == "approved"
