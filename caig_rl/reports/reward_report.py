"""`reward_eval.html`: whether a reward model can be trusted, with the pairs it gets most wrong as pictures."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from PIL import Image
from scipy.special import expit

from caig_rl.data.clicks.dataset import ClickDataset
from caig_rl.evaluation.reward_evaluation import Accuracy, RewardEvaluation, most_wrong
from caig_rl.evaluation.reward_judging import Judging
from caig_rl.reports.charts import calibration_chart
from caig_rl.reports.run_report import page_environment
from caig_rl.reports.run_report_text import percent
from caig_rl.types import ImageArray

PAGE, NUMBERS = "reward_eval.html", "reward_eval.json"
MOST_WRONG = 20
CATEGORIES = 30
"""Categories in the page's table; the JSON has all."""
_SIDE = 260


@dataclass(frozen=True, slots=True)
class WrongSide:
    """One creative of a wrongly ordered pair."""

    picture: str
    """A data URI."""
    caption: str


@dataclass(frozen=True, slots=True)
class WrongPair:
    """A pair that the model has in the wrong order."""

    title: str
    sides: tuple[WrongSide, WrongSide]
    note: str


def render_reward_report(
    name: str, kind: str, data: ClickDataset, judging: Judging, evaluation: RewardEvaluation, agreements: Mapping[str, float], source: str
) -> str:
    """The page as HTML text; everything from the log is escaped. `agreements`: another model's name -> share of pairs in the same order."""
    rows: list[tuple[str, Accuracy]] = [("all", evaluation.all_pairs)]
    if evaluation.significant is not None:
        rows.append(("significant (|z| above 1.96)", evaluation.significant))
    rows += [(f"category {label}", accuracy) for label, accuracy in list(evaluation.by_category.items())[:CATEGORIES]]
    return (
        page_environment()
        .get_template("page.html.j2")
        .render(
            section="reward.html.j2",
            title="Reward model",
            name=name,
            kind=kind,
            source=source,
            headline=reward_headline(evaluation),
            evaluation=evaluation,
            failed=judging.failed,
            bill=judging.bill,
            rows=rows,
            curve=calibration_chart([(one.confidence, one.accuracy, *one.interval) for one in evaluation.calibration]),
            agreements=agreements,
            wrong=[_wrong_pair(data, judging, index) for index in most_wrong(judging.pairs, MOST_WRONG)],
        )
    )


def reward_json(judgings: Mapping[str, Judging], evaluations: Mapping[str, RewardEvaluation], agreements: Mapping[str, float]) -> str:
    """`reward_eval.json`: every model's numbers by its name, and how far each agrees with the first."""
    models = {name: found.to_json() | _asking(judgings[name]) for name, found in evaluations.items()}
    return json.dumps({"models": models, "agreement_with_first": dict(agreements)}, indent=1, allow_nan=False) + "\n"


def _asking(judging: Judging) -> dict[str, object]:
    return {"failed": judging.failed, "endpoint": None if judging.bill is None else asdict(judging.bill)}


def reward_headline(evaluation: RewardEvaluation) -> str:
    """One sentence for the reader in a hurry."""
    accuracy = evaluation.all_pairs
    said = f"Right in {percent(accuracy.value)} of pairs, where {percent(accuracy.ceiling)} is the most that noisy clicks allow"
    return said if accuracy.interval.low > 0.5 else f"Not shown to be better than a coin: {said[0].lower()}{said[1:]}"


def _wrong_pair(data: ClickDataset, judging: Judging, index: int) -> WrongPair:
    pair = int(judging.rows[index])
    first, second = int(data.first[pair]), int(data.second[pair])
    favoured, better = (first, second) if judging.pairs.log_odds[index] > 0.0 else (second, first)
    sure = float(expit(abs(judging.pairs.log_odds[index])))
    q = float(judging.pairs.order_probability[index])
    product = data.product(first)
    return WrongPair(
        title=f"{product.title} ({product.category})",
        sides=(_side(data, better, "clicked more"), _side(data, favoured, "the model's choice")),
        note=f"The model is {_sure(sure)} sure; the clicks are {_sure(max(q, 1.0 - q))} sure of the other order.",
    )


def _sure(probability: float) -> str:
    return f"over {percent(0.99, 0)}" if probability > 0.99 else percent(probability, 0)


def _side(data: ClickDataset, row: int, what: str) -> WrongSide:
    ctr, shown = data.creatives["ctr"][row].as_py(), data.creatives["impressions"][row].as_py()
    return WrongSide(_data_uri(data.image(row)), f"{what}: {percent(ctr, 2)} of {shown:,} views")


def _data_uri(image: ImageArray) -> str:
    small = Image.fromarray(image)
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=86)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
