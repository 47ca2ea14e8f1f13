"""`clicks.html`: what became of a click log on its way to labelled pairs, for people who will spend money on the answer."""

from __future__ import annotations

from caig_rl.data.clicks.summary import ClickSummary, SplitCheck
from caig_rl.reports.run_report import page_environment

PAGE = "clicks.html"
DESIGNS = {
    "propensity": "the logged propensities",
    "share": "the declared shares",
    "equal": "an equal split",
    "unchecked": "nothing: the check is switched off",
}
VERDICTS = {
    "fits": "split as designed",
    "deviates": "set aside: not split as designed",
    "share_changes": "set aside: an arm's declared share changes",
    "single_arm": "one arm only, nothing to compare",
    "too_small": "too few impressions to check; kept, the impression floor decides",
    "unchecked": "not checked",
}
POLICIES = {
    "official": "official: the higher CTR is 1.05 to 1.20 times the lower",
    "all": "all: every pair with an order",
    "significant": "significant: |z| above 1.96",
    "posterior": "posterior: every pair, weighted by how sure its order is",
}


def render_click_report(summary: ClickSummary) -> str:
    """The page as HTML text; everything from the log is escaped."""
    return (
        page_environment()
        .get_template("page.html.j2")
        .render(
            section="clicks.html.j2",
            title="Click log",
            summary=summary,
            headline=click_headline(summary),
            widest=max([step.count for step in summary.steps] + [1]),
            designs=DESIGNS,
            verdicts=VERDICTS,
            policies=POLICIES,
            unused=unused_sentence(summary) if summary.unused else "",
            spanning=spanning_sentence(summary.split_check) if summary.split_check and summary.split_check.spanning else "",
        )
    )


def click_headline(summary: ClickSummary) -> str:
    """One sentence for the reader in a hurry."""
    check, tests = summary.split_check, summary.count("tests")
    aside = tests - summary.count("tests_split_as_designed")
    if not summary.policies:
        return f"{tests:,} tests, {aside:,} of them not split as designed"
    pairs = summary.policies[summary.policy].train
    told = "split not checked" if check is None or check.design == "unchecked" else f"{aside:,} of {tests:,} tests set aside"
    return f"{pairs:,} training pairs by policy “{summary.policy}”; {told}"


def unused_sentence(summary: ClickSummary) -> str:
    """Which known columns the log holds in vain."""
    return f"found in the log and not used, nothing is corrected for them: {', '.join(summary.unused)}"


def spanning_sentence(check: SplitCheck) -> str:
    """How tests of several products are checked and counted."""
    return f"{check.spanning:,} tests of the log span several products; each was checked product by product, and counts once for each"
