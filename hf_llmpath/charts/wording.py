"""Formats numbers, durations, and names of metrics for people, in the terminal, on pages, and on cards."""

from typing import Any


def number(value: Any) -> str:
    """Formats a measured value: four significant digits, but all digits of whole and of large numbers."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Formats a number of seconds: `59 s`, `1 min 05 s`, `2 h 10 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def words(name: str) -> str:
    """Formats the name of a metric: `adding/lstm/squared_error` becomes "adding, lstm: squared error"."""
    *which, what = name.replace("_", " ").split("/")
    return f"{', '.join(which)}: {what}" if which else what


def measured(metrics: dict[str, Any], name: str) -> str:
    """Formats a metric of a run, with its standard deviation if several seeds were run: `0.91 ± 0.02`."""
    spread = f" ± {number(metrics[name + '_sd'])}" if f"{name}_sd" in metrics else ""
    return number(metrics[name]) + spread


def target(goal: dict[str, Any]) -> str:
    """Formats the limit of a goal in a run's report: `≥ 0.9`."""
    return f"{'≥' if goal['higher_is_better'] else '≤'} {number(goal['goal'])}"
