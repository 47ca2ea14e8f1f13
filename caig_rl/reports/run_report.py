"""`report.html`: one file, no network and no script, that says whether clicks rose, how sure that is, and what it looks like."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from caig_rl.reports.faults_survived import survived_section
from caig_rl.reports.policy_text import categories_line, prompt_rows, segment_rows
from caig_rl.reports.run_report_text import duration, headline, percent, signed_percent, warnings
from caig_rl.reports.run_report_view import curves, facts, gallery_cards, gallery_note, outcome_rows, stage_shares
from caig_rl.runs.events import read_events
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.gallery import read_gallery
from caig_rl.runs.ledger import read_rows
from caig_rl.runs.measured_again import read_measured_again, with_better_measurement
from caig_rl.runs.status import CONFIG_FILE, read_config
from caig_rl.runs.summary import read_summary

REPORT = "report.html"


def write_report(run_folder: RunFolder) -> str:
    """Write `report.html` from the run's own files; returns its address.

    `summary.json` is needed (UserError without it); the gallery, the curves, the ledger's examples and the configuration are shown
    where the run has written them, and the page says so where it has not.
    """
    return run_folder.write_text(REPORT, render_report(run_folder))


def render_report(run_folder: RunFolder) -> str:
    """The page as HTML text. Everything that came from a catalog or a policy is escaped."""
    own = read_summary(run_folder)
    summary = with_better_measurement(own, read_measured_again(run_folder))
    entries = read_gallery(run_folder)
    ledger_rows = read_rows(run_folder).to_pylist()
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            summary=summary,
            headline=headline(summary),
            categories=categories_line(summary.categories),
            prompts=prompt_rows(summary.prompts),
            segments=segment_rows(summary.segments),
            earlier=headline(own) if summary is not own else None,
            warnings=warnings(summary),
            cards=gallery_cards(run_folder, entries),
            gallery_note=gallery_note(entries),
            curves=curves(run_folder.read_metrics()),
            stages=stage_shares(summary.time),
            outcomes=outcome_rows(summary, ledger_rows),
            survived=survived_section(summary, read_events(run_folder)),
            facts=facts(summary),
            config=read_config(run_folder) if run_folder.exists(CONFIG_FILE) else "",
        )
    )


def page_environment() -> Environment:
    """Templates of this package, with the filters that all pages share; what comes from a catalog, a log or a policy is escaped."""
    environment = Environment(
        loader=PackageLoader("caig_rl.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, signed_percent=signed_percent, duration=duration, thousands="{:,}".format, drawn=Markup)
    return environment
