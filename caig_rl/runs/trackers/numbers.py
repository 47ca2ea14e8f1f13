"""The numbers of rounds and of whole runs, flat, as experiment trackers take them."""

from __future__ import annotations

from collections.abc import Mapping

from caig_rl.runs.summary import RunSummary


def round_numbers(row: Mapping[str, object]) -> dict[str, float]:
    """The numbers of a row that were measured, without the round's own."""
    return {
        name: float(value)
        for name, value in row.items()
        if name != "round" and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def final_numbers(summary: RunSummary) -> dict[str, float]:
    """What a tracker shows of a whole run: "ctr.lift", "relevance.final" ..., and how its admissions ended."""
    products = summary.products
    numbers: dict[str, float | None] = {
        "products.admitted": products.admitted,
        "products.trained": products.trained,
        "products.failed": sum(products.failed.values()),
        "time.total_s": summary.time.total_s,
        "peak_memory_gib": summary.peak_memory_gib,
        "policy.kl": summary.policy.kl,
        "policy.distinct_prompts": summary.policy.distinct_prompts,
    }
    if summary.guard is not None:
        guard = summary.guard
        numbers |= {
            "guard.best_score": guard.best_score,
            "guard.newest_score": guard.newest_score,
            "guard.best_version": guard.best_version,
        }
    if summary.result is not None:
        numbers["result.rounds"] = summary.result.rounds
    if summary.ctr is not None:
        numbers |= {f"ctr.{name}": getattr(summary.ctr, name) for name in ("initial", "final", "lift", "ceiling")}
    if summary.relevance is not None:
        numbers |= {"relevance.initial": summary.relevance.initial, "relevance.final": summary.relevance.final}
    if summary.prompts is not None:
        numbers |= {f"prompts.{name}": value for name, value in summary.prompts.final.model_dump().items()}
    return {name: float(value) for name, value in numbers.items() if value is not None}
