"""A person's view of a run in the terminal: a bar for each stage of the phase, and a line for each round."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from caig_rl.runs.summary import RoundDetail

_STAGES = {"policy": "prompts", "render": "creatives", "score": "scores", "learn": "pairs learned"}


class TerminalProgress:
    """A `Progress` on a terminal; without one (a log file) the bars are left out and the lines remain."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (SpinnerColumn(), TextColumn("{task.description:28}"), BarColumn(bar_width=28), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._stages: dict[str, TaskID] = {}
        self._total = 0

    def __enter__(self) -> TerminalProgress:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def phase(self, name: str, total: int) -> None:
        """Clear the bars and open the phase's own."""
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        self._stages, self._total = {}, total
        self._bars.add_task(name, total=total or None)
        if not self._console.is_terminal:
            self._console.print(name, highlight=False)

    def advanced(self, stage: str, count: int) -> None:
        """Move a stage's bar."""
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(f"  {_STAGES.get(stage, stage)}", total=self._total or None)
        self._bars.advance(self._stages[stage], count)
        if stage == "score":
            self._bars.advance(self._bars.task_ids[0], count)

    def round_ended(self, detail: RoundDetail) -> None:
        """One line of numbers."""
        parts = [f"round {detail.round + 1}", f"{detail.pairs} pairs"]
        ctr = (detail.model_extra or {}).get("ctr")
        if ctr is not None:
            parts.append(f"CTR {ctr:.2%}")
        parts += [
            f"{name} {value:.3f}"
            for name, value in (
                ("reward", detail.reward_score),
                ("guard", detail.guard_score),
                ("relevance", detail.relevance),
                ("KL", detail.kl),
                ("loss", detail.loss),
            )
            if value is not None
        ]
        self._console.print("  ".join(parts), highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
