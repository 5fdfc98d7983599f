"""How numbers, durations and names of metrics are written, wherever people read them: terminal, pages and
cards.
"""

from typing import Any


def number(value: Any) -> str:
    """A measured value with as many digits as mean something: four, and whole numbers in full."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Seconds as people say them: `59 s`, `1 min 05 s`, `2 h 10 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def words(name: str) -> str:
    """`adding/lstm/mean_squared_error` as people write it: "adding, lstm: mean squared error"."""
    *which, what = name.replace("_", " ").split("/")
    return f"{', '.join(which)}: {what}" if which else what


def measured(metrics: dict[str, Any], name: str) -> str:
    """A metric of a run, with its standard deviation where several seeds were run: `0.91 ± 0.02`."""
    spread = f" ± {number(metrics[name + '_sd'])}" if f"{name}_sd" in metrics else ""
    return number(metrics[name]) + spread


def target(goal: dict[str, Any]) -> str:
    """The limit of a goal in a run's report: `≥ 0.9`."""
    return f"{'≥' if goal['higher_is_better'] else '≤'} {number(goal['goal'])}"
