"""Settings of a stage: a dataclass with help texts, checked values and presets.

    @dataclass(frozen=True)
    class RNNSettings(Settings):
        hidden_size: int = setting(256, "units in the recurrent layer", minimum=1)

        @classmethod
        def full(cls): return cls(seeds=3)

`quick` is the defaults; a stage overrides `full`.
"""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import UserError, nearest

PRESETS = ("quick", "full")
LARGEST_SEED = 2**31 - 1  # NumPy takes 32 bits; half of them leave room for the seeds that follow the first


def setting(default: Any, help: str, minimum: float | None = None, maximum: float | None = None) -> Any:
    """A dataclass field with its help text and, for numbers, its range (both ends allowed)."""
    return field(default=default, metadata={"help": help, "minimum": minimum, "maximum": maximum})


@dataclass(frozen=True)
class Settings:
    """What every stage lets a user choose."""

    dataset: str = setting("world/stories", "embedded name, Hub id, or local file or folder")
    seed: int = setting(
        0, "seed of the weights, the batches and the samples", minimum=0, maximum=LARGEST_SEED
    )

    @classmethod
    def quick(cls) -> "Settings":
        return cls()

    @classmethod
    def full(cls) -> "Settings":
        return cls()

    @classmethod
    def preset(cls, name: str) -> "Settings":
        if name not in PRESETS:
            raise UserError(f"unknown preset '{name}'; there are quick and full{nearest(name, PRESETS)}")
        return getattr(cls, name)()

    @classmethod
    def describe(cls) -> list[tuple[str, str, Any, str]]:
        """`(name, type, default, help)` for every setting."""
        return [
            (f.name, _type_name(_hints(cls)[f.name]), f.default, f.metadata["help"])
            for f in dataclasses.fields(cls)
        ]

    def updated(self, **texts: Any) -> "Settings":
        """A copy with some settings replaced; strings are read as the type of the setting.

        Raises:
            UserError: an unknown setting (with the nearest name), a wrong type, a value out of range.
        """
        fields = {f.name: f for f in dataclasses.fields(self)}
        hints, values = _hints(type(self)), {}
        for name, value in texts.items():
            if name not in fields:
                known = ", ".join(fields)
                raise UserError(f"unknown setting '{name}'{nearest(name, fields) or f'; known: {known}'}")
            values[name] = _read(name, value, hints[name])
            _check_range(name, values[name], fields[name].metadata)
        return dataclasses.replace(self, **values)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _options(hint: Any) -> list[Any]:
    """The types that a setting may have; none first, since everything can be read as a string."""
    options = list(typing.get_args(hint)) if isinstance(hint, types.UnionType) else [hint]
    return sorted(options, key=lambda option: option is not type(None))


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "|".join(map(str, typing.get_args(hint)))
    if isinstance(hint, types.UnionType):
        return "|".join(_type_name(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"{_type_name(typing.get_args(hint)[0])},..."
    return "none" if hint is type(None) else hint.__name__


def _read(name: str, value: Any, hint: Any) -> Any:
    for option in _options(hint):
        try:
            return _read_as(value, option)
        except (ValueError, TypeError):
            continue
    raise UserError(f"setting {name} is '{value}'; it takes {_type_name(hint)}")


def _read_as(value: Any, hint: Any) -> Any:
    if hint is type(None):
        if value is None or str(value).lower() == "none":
            return None
        raise ValueError
    if typing.get_origin(hint) is Literal:
        return _choose(value, {str(choice): choice for choice in typing.get_args(hint)})
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        parts = value.split(",") if isinstance(value, str) else list(value)
        return tuple(
            _read_as(part.strip() if isinstance(part, str) else part, item) for part in parts if part != ""
        )
    if hint is bool:
        return _choose(value, {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False})
    if value is None or (hint is int and isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return hint(value)


def _choose(value: Any, choices: dict[str, Any]) -> Any:
    for text in (str(value), str(value).lower()):
        if text in choices:
            return choices[text]
    raise ValueError


def _check_range(name: str, value: Any, metadata: Any) -> None:
    if isinstance(value, tuple):
        for item in value:
            _check_range(name, item, metadata)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, high = metadata.get("minimum"), metadata.get("maximum")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"setting {name} is {value}; it must be a finite number")
    if (low is not None and value < low) or (high is not None and value > high):
        limits = (
            f"at least {low}"
            if high is None
            else f"at most {high}"
            if low is None
            else f"from {low} to {high}"
        )
        raise UserError(f"setting {name} is {value}; it must be {limits}")
