"""How numbers are said to people."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Seconds as a person says them: "4.2 s", "5 s", "45 s", "12 min 5 s", "3 h 20 min", "2 d 4 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{f'{seconds:.1f}'.removesuffix('.0')} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def counted(count: int, thing: str) -> str:
    """ "1 round", "2 rounds"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
