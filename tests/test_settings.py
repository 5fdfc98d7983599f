"""Settings: read from text, checked, and never a value of another type than the setting has."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_llmpath.errors import UserError
from hf_llmpath.settings import LARGEST_SEED, PRESETS, Group, Settings, group, setting
from hf_llmpath.stages import all_stages


@dataclass(frozen=True)
class Sample(Settings):
    cell: Literal["rnn", "LSTM"] = setting("rnn", "a choice")
    hidden_size: int = setting(16, "a whole number", minimum=1, maximum=1024)
    parameters: int | None = setting(None, "a whole number or none", minimum=10)
    rate: float = setting(0.5, "a number", minimum=0, maximum=1)
    wild: float = setting(0.0, "a number of any size")
    text_column: str | None = setting(None, "a text or none")
    bias: bool = setting(True, "yes or no")
    rates: tuple[float, ...] = setting((), "several numbers")
    files: tuple[str, ...] = setting((), "several texts")
    tasks: tuple[Literal["sort", "reverse"], ...] = setting((), "several choices")

    @classmethod
    def full(cls) -> "Sample":
        return cls(hidden_size=64)


VALUES = {
    "cell": st.sampled_from(["rnn", "LSTM"]),
    "hidden_size": st.integers(1, 1024),
    "parameters": st.none() | st.integers(10),
    "rate": st.floats(0, 1),
    "wild": st.floats(allow_nan=False, allow_infinity=False),
    "text_column": st.none() | st.text().filter(lambda text: text.lower() != "none"),
    "bias": st.booleans(),
    "rates": st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
    "files": st.lists(st.text(st.characters(exclude_characters=",", exclude_categories=["Cs"]), min_size=1))
    .map(lambda texts: tuple(filter(None, (text.strip() for text in texts)))),
    "tasks": st.lists(st.sampled_from(["sort", "reverse"])).map(tuple),
    "dataset": st.text(),
    "seed": st.integers(0, LARGEST_SEED),
}  # fmt: skip


def as_text(value: object) -> str:
    """What somebody types after `--set name=`."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_every_value_comes_back_from_its_text(values):
    assert Sample().updated(**{name: as_text(value) for name, value in values.items()}) == Sample(**values)


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_every_value_comes_back_from_json(values):
    """What a stopped run noted is what it is resumed with."""
    settings = Sample(**values)
    assert Sample().updated(**json.loads(json.dumps(settings.as_dict()))) == settings


@given(st.sampled_from(sorted(VALUES)), st.text() | st.integers() | st.floats() | st.none() | st.booleans())
def test_any_input_gives_the_right_type_or_one_line(name, value):
    try:
        read = getattr(Sample().updated(**{name: value}), name)
    except UserError as error:
        assert f"setting {name} is" in str(error)
        return
    kinds = {
        "cell": str,
        "hidden_size": int,
        "parameters": int | None,
        "rate": float,
        "wild": float,
        "text_column": str | None,
        "bias": bool,
        "rates": tuple,
        "files": tuple,
        "tasks": tuple,
        "dataset": str,
        "seed": int,
    }
    assert isinstance(read, kinds[name]) and (name == "bias" or not isinstance(read, bool))
    if name == "cell":
        assert read in ("rnn", "LSTM")
    if name == "hidden_size":
        assert 1 <= read <= 1024
    if name == "rate":
        assert 0 <= read <= 1
    if name == "wild":
        assert abs(read) < float("inf")
    if name == "seed":
        assert 0 <= read <= LARGEST_SEED


@given(st.text().filter(lambda text: text not in {field.name for field in dataclasses.fields(Sample)}))
def test_an_unknown_name_is_refused(name):
    with pytest.raises(UserError, match="unknown setting"):
        Sample().updated(**{name: "1"})


def test_an_unknown_name_gets_the_nearest_one_or_the_list():
    with pytest.raises(UserError, match=r"^unknown setting 'hiden_size'; did you mean 'hidden_size'\?$"):
        Sample().updated(hiden_size="3")
    with pytest.raises(UserError, match="^unknown setting 'zzz'; known: dataset, seed, cell, hidden_size,"):
        Sample().updated(zzz="3")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("hidden_size", "3.5", "setting hidden_size is '3.5'; it takes int"),
        ("hidden_size", 3.5, "setting hidden_size is '3.5'; it takes int"),
        ("hidden_size", "", "setting hidden_size is ''; it takes int"),
        ("hidden_size", None, "setting hidden_size is 'None'; it takes int"),
        ("hidden_size", "0", "setting hidden_size is 0; it must be from 1 to 1024"),
        ("parameters", "9", "setting parameters is 9; it must be at least 10"),
        ("parameters", "many", "setting parameters is 'many'; it takes int|none"),
        ("rate", "nan", "setting rate is nan; it must be a finite number"),
        ("wild", "inf", "setting wild is inf; it must be a finite number"),
        ("rates", "1,nan", "setting rates is nan; it must be a finite number"),
        ("cell", "gru", "setting cell is 'gru'; it takes rnn|LSTM"),
        ("bias", "2", "setting bias is '2'; it takes bool"),
        ("rates", "1,two", "setting rates is '1,two'; it takes float,..."),
        ("tasks", "sort,reverze", "setting tasks is 'sort,reverze'; it takes sort|reverse,..."),
        ("dataset", None, "setting dataset is 'None'; it takes str"),
    ],
)
def test_the_line_for_a_wrong_value(name, value, said):
    with pytest.raises(UserError) as error:
        Sample().updated(**{name: value})
    assert str(error.value) == said


def test_spellings():
    settings = Sample().updated(
        bias="No", parameters="None", rates="0.1, 0.2,", text_column="none", hidden_size=" 8 "
    )
    assert (
        settings.bias,
        settings.parameters,
        settings.rates,
        settings.text_column,
        settings.hidden_size,
    ) == (False, None, (0.1, 0.2), None, 8)


def test_an_update_leaves_the_original_alone():
    settings = Sample()
    assert settings.updated(seed=3).seed == 3
    assert settings == Sample()


def test_presets():
    assert Sample.preset("quick") == Sample()
    assert Sample.preset("full").hidden_size == 64
    with pytest.raises(
        UserError, match="unknown preset 'ful'; there are quick and full; did you mean 'full'"
    ):
        Sample.preset("ful")
    with pytest.raises(UserError, match="unknown preset 'updated'"):
        Sample.preset("updated")


@pytest.mark.parametrize("stage", all_stages(), ids=lambda stage: stage.slug)
def test_the_settings_of_every_stage_describe_themselves_and_accept_their_own_presets(stage):
    described = stage.settings.describe()
    assert [row[0] for row in described] == list(stage.settings().as_dict())
    assert all(kind and text for _, kind, _, text in described)
    for preset in PRESETS:
        settings = stage.settings.preset(preset)
        assert settings.updated(**json.loads(json.dumps(settings.as_dict()))) == settings


@dataclass(frozen=True)
class Pace(Group):
    steps: int = setting(10, "optimizer steps", minimum=1)
    rate: float = setting(0.5, "peak learning rate", minimum=0)
    note: str = dataclasses.field(default="", metadata={"help": None})  # not for people


@dataclass(frozen=True)
class Grouped(Settings):
    width: int = setting(4, "units", minimum=1)
    first: Pace = group(Pace(steps=20), "pretraining")
    second: Pace = group(Pace(rate=0.1), "fine-tuning")

    renamed = {"max_steps": "first.steps", "size": "width", "rate": ("first.rate", "second.rate")}


def test_settings_of_a_group_have_dotted_names():
    settings = Grouped().updated(**{"first.steps": "7", "second.rate": "0.2", "width": "8"})
    assert (settings.first.steps, settings.second.steps, settings.second.rate) == (7, 10, 0.2)
    assert settings.first.path == "first" and settings.second.path == "second"
    assert Grouped().first.steps == 20
    names = ["dataset", "seed", "width", "first.steps", "first.rate", "second.steps", "second.rate"]
    assert list(settings.as_dict()) == [row[0] for row in Grouped.describe()] == names
    assert ("second.steps", "int", 10, "fine-tuning: optimizer steps") in Grouped.describe()
    assert Grouped().updated(**json.loads(json.dumps(settings.as_dict()))) == settings


def test_a_setting_of_a_group_is_checked_under_its_dotted_name():
    with pytest.raises(UserError, match="^setting first.steps is 0; it must be at least 1$"):
        Grouped().updated(**{"first.steps": "0"})
    with pytest.raises(UserError, match=r"^unknown setting 'first.step'; did you mean 'first.steps'\?$"):
        Grouped().updated(**{"first.step": "3"})
    with pytest.raises(UserError, match="unknown setting 'first.note'"):
        Grouped().updated(**{"first.note": "x"})


def test_an_earlier_name_of_a_setting_is_accepted_with_a_warning():
    with pytest.warns(DeprecationWarning, match="setting max_steps is now called first.steps"):
        assert Grouped().updated(max_steps="3").first.steps == 3


@pytest.mark.filterwarnings("error")
def test_what_an_earlier_run_has_noted_is_read_without_a_warning():
    assert Grouped.noted({"max_steps": 3, "size": 2}) == Grouped(width=2, first=Pace(steps=3))
    assert Grouped.noted({"rate": 0.3}).first.rate == Grouped.noted({"rate": 0.3}).second.rate == 0.3


@pytest.mark.parametrize("stage", all_stages(), ids=lambda stage: stage.slug)
def test_earlier_names_lead_to_settings_that_exist(stage):
    names = {row[0] for row in stage.settings.describe()}
    assert not names & set(stage.settings.renamed)
    for name in stage.settings.renamed.values():
        assert names >= ({name} if isinstance(name, str) else set(name))
