"""Defines the settings of a stage: a dataclass with help texts, checked values, and two presets.

    @dataclass(frozen=True)
    class RNNSettings(Settings):
        hidden_size: int = setting(256, "units of the recurrent layer", minimum=1)
        training: Recipe = group(Recipe(steps=900, learning_rate=3e-3), "language model")

        renamed: ClassVar = {"max_steps": "training.steps"}

        @classmethod
        def full(cls): return cls().updated(hidden_size=640, **{"training.steps": 4000})

The defaults are the quick preset; a stage overrides `full`. Settings that belong together, such as the
settings of one training, form a `Group` that stages share. Settings of a group have dotted names:
`--set training.steps=2000`.
"""

import dataclasses
import math
import types
import typing
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .errors import UserError, nearest

if TYPE_CHECKING:
    from typing_extensions import Self

PRESETS = ("quick", "full")
LARGEST_SEED = 2**31 - 1  # NumPy takes 32 bits; half of them leave room for the seeds after the first


def setting(default: Any, help: str, minimum: float | None = None, maximum: float | None = None) -> Any:
    """Makes a dataclass field with its help text and, for numbers, its range (both ends included)."""
    return field(default=default, metadata={"help": help, "minimum": minimum, "maximum": maximum})


def group(default: "Group", help: str) -> Any:
    """Makes a dataclass field that holds a group of settings; `help` says what the group is about."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Group:
    """Settings that belong together and that several stages share.

    Attributes:
        path: the name of the group within the stage, which `Settings` fills in.
    """

    path: str = field(default="", kw_only=True, compare=False, metadata={"help": None})


@dataclass(frozen=True)
class Settings:
    """The settings that every stage has; a stage adds its own in a subclass."""

    dataset: str = setting("world/stories", "embedded name, Hub id, or local file or folder")
    seed: int = setting(
        0, "seed of the weights, the batches and the samples", minimum=0, maximum=LARGEST_SEED
    )

    # Earlier name -> current name (or names, where one setting became several); accepted for one release.
    renamed: ClassVar[Mapping[str, str | tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Group) and value.path != item.name:
                # The dataclass is frozen, so its own __setattr__ would refuse.
                object.__setattr__(self, item.name, dataclasses.replace(value, path=item.name))

    @classmethod
    def quick(cls) -> "Self":
        return cls()

    @classmethod
    def full(cls) -> "Self":
        return cls()

    @classmethod
    def preset(cls, name: str) -> "Self":
        if name not in PRESETS:
            raise UserError(f"unknown preset '{name}'; there are quick and full{nearest(name, PRESETS)}")
        return getattr(cls, name)()

    @classmethod
    def noted(cls, values: Mapping[str, Any]) -> "Self":
        """Returns the settings that a run folder recorded, under their current or earlier names."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return cls().updated(**values)

    @classmethod
    def describe(cls) -> list[tuple[str, str, Any, str]]:
        """Returns `(name, type, default, help)` for every setting."""
        return [
            (name, _type_name(hint), default, text) for name, (hint, default, text, _) in _flat(cls).items()
        ]

    def updated(self, **values: Any) -> "Self":
        """Returns a copy with some settings replaced; strings are converted to the type of the setting.

        Raises:
            UserError: a setting is unknown (the message names the nearest), or a value has the wrong type or
                is out of range.
        """
        known, top, nested = _flat(type(self)), {}, {}  # type: ignore[var-annotated]
        for given, name, value in under_new_names(values, self.renamed):
            if name not in known:
                names = ", ".join(known)
                raise UserError(f"unknown setting '{given}'{nearest(given, known) or f'; known: {names}'}")
            if name != given:
                warnings.warn(f"setting {given} is now called {name}", DeprecationWarning, stacklevel=2)
            hint, _, _, limits = known[name]
            value = _parse(name, value, hint)
            _check_range(name, value, limits)
            above, _, last = name.rpartition(".")
            (nested.setdefault(above, {}) if above else top)[last] = value
        for name, changes in nested.items():
            top[name] = dataclasses.replace(getattr(self, name), **changes)
        return dataclasses.replace(self, **top)

    def as_dict(self) -> dict[str, Any]:
        """Returns name -> value of every setting; settings of a group have dotted names."""
        return {name: _value(self, name) for name in _flat(type(self))}


def under_new_names(
    values: Mapping[str, Any], renamed: Mapping[str, str | tuple[str, ...]]
) -> Iterator[tuple[str, str, Any]]:
    """Yields `(given name, current name, value)` for settings that may be given under earlier names."""
    for given, value in values.items():
        names = renamed.get(given, given)
        for name in (names,) if isinstance(names, str) else names:
            yield given, name, value


def _value(settings: Any, name: str) -> Any:
    for step in name.split("."):
        settings = getattr(settings, step)
    return settings


def _flat(cls: type) -> dict[str, tuple[Any, Any, str, Mapping[str, Any]]]:
    """Returns dotted name -> type, default, help, and limits of every setting."""
    return {name: rest for name, *rest in _walk(cls)}  # type: ignore[misc]


def _walk(cls: type) -> Iterator[tuple[Any, ...]]:
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if not isinstance(item.default, Group):
            yield item.name, hints[item.name], item.default, item.metadata["help"], item.metadata
            continue
        inner_hints = typing.get_type_hints(type(item.default))
        for inner in dataclasses.fields(item.default):
            if inner.metadata.get("help") is None:  # `path`, which is not a setting
                continue
            text = f"{item.metadata['help']}: {inner.metadata['help']}"
            default = getattr(item.default, inner.name)
            yield f"{item.name}.{inner.name}", inner_hints[inner.name], default, text, inner.metadata


def _options(hint: Any) -> list[Any]:
    return list(typing.get_args(hint)) if isinstance(hint, types.UnionType) else [hint]


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "|".join(map(str, typing.get_args(hint)))
    if isinstance(hint, types.UnionType):
        return "|".join(map(_type_name, _options(hint)))
    if typing.get_origin(hint) is tuple:
        return f"{_type_name(typing.get_args(hint)[0])},..."
    return "none" if hint is type(None) else hint.__name__


def _parse(name: str, value: Any, hint: Any) -> Any:
    """Converts `value` to the type `hint` with pydantic, once `_spelled` has read lists and choices."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        # A string setting may also be given as a number.
        adapter = TypeAdapter(hint, config=ConfigDict(coerce_numbers_to_str=True))
        return adapter.validate_python(_spelled(value, hint))
    except ValidationError:
        raise UserError(f"setting {name} is '{value}'; it takes {_type_name(hint)}") from None


def _spelled(value: Any, hint: Any) -> Any:
    """Rewrites typed text as `hint` expects it: `none`, a list with commas, a choice in any case."""
    if not isinstance(value, str):
        return value
    options = _options(hint)
    if type(None) in options and value.lower() == "none":
        return None
    for option in options:
        if typing.get_origin(option) is tuple:
            item = typing.get_args(option)[0]
            return tuple(_spelled(text.strip(), item) for text in value.split(",") if text.strip())
        if typing.get_origin(option) is Literal:
            choices = typing.get_args(option)
            # Exact spellings come last and win, in case two choices differ only in case.
            spellings = {str(choice).lower(): choice for choice in choices} | {str(c): c for c in choices}
            return spellings.get(value, spellings.get(value.lower(), value))
    return value


def _check_range(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    if isinstance(value, tuple):
        for item in value:
            _check_range(name, item, limits)
    if isinstance(value, bool) or not isinstance(value, int | float):  # True is an int, and has no range
        return
    low, high = limits.get("minimum"), limits.get("maximum")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"setting {name} is {value}; it must be a finite number")
    if (low is not None and value < low) or (high is not None and value > high):
        allowed = (
            f"at least {low}"
            if high is None
            else f"at most {high}"
            if low is None
            else f"from {low} to {high}"
        )
        raise UserError(f"setting {name} is {value}; it must be {allowed}")
