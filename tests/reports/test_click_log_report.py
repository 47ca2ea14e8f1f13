from caig_rl.data.clicks.summary import ClickSummary, Faults, PolicyCount, SplitCheck
from caig_rl.reports.click_log_report import click_headline, render_click_report


def _summary() -> ClickSummary:
    summary = ClickSummary("<log>.csv", policy="significant")
    for name, count in (("rows_read", 1200), ("tests", 30), ("tests_split_as_designed", 28)):
        summary.add(name, count, name.replace("_", " "))
    summary.faults = {"clicks_negative": Faults(2, ("log.csv row 3 has <b>clicks</b> below 0",))}
    summary.split_check = SplitCheck("equal", 0.01, {"fits": 28, "deviates": 2}, (("t7", 1e-9),))
    summary.prior_impressions = 1173.4
    summary.policies = {"significant": PolicyCount(17, 2, 3, 0.985), "official": PolicyCount(0, 0, 0, None)}
    return summary


def test_the_page_holds_every_step_every_fault_and_every_policy():
    page = render_click_report(_summary())
    for text in (
        "1,200",
        "clicks_negative",
        "set aside: not split as designed",
        "t7 (p = 1.0e-09)",
        "98.5",
        "no pair",
        "1,173 impressions",
    ):
        assert text in page.replace("\xa0", " "), text


def test_what_comes_from_the_log_is_escaped():
    page = render_click_report(_summary())
    assert "<b>clicks</b>" not in page and "&lt;b&gt;clicks" in page


def test_the_headline_says_how_many_pairs_there_are_and_how_many_tests_went():
    assert click_headline(_summary()) == "17 training pairs by policy “significant”; 2 of 30 tests set aside"


def test_what_is_not_used_and_how_campaigns_were_checked_is_said_where_it_is_so():
    summary = _summary()
    assert "not used" not in render_click_report(summary) and "product by product" not in render_click_report(summary)
    summary.unused = ("day", "position")
    summary.split_check = SplitCheck("equal", 0.01, {"fits": 28}, (), spanning=3)
    page = render_click_report(summary)
    assert "not used, nothing is corrected for them: day, position." in page
    assert "3 tests of the log span several products; each was checked product by product" in page
