"""Time series: the embedded one, and CSV files with their errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_llmpath.errors import UserError
from hf_llmpath.stages.s06_sequences.series import Series, read_series, tea_sales


@pytest.fixture
def csv_file(tmp_path):
    def write(content: str | bytes, name: str = "my-sales.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def test_read_series(csv_file):
    rows = "".join(f"2020-{month:02d},{month},{10 * month + 0.5}\n" for month in range(1, 13))
    series = read_series(csv_file("month,number,sales\n" + rows + "\n"), period=4)
    assert series.name == "my_sales" and series.period == 4
    assert series.values.tolist() == [10 * month + 0.5 for month in range(1, 13)]
    assert series.cut == 10  # the last fifth in time is held out


def test_public_series(shared_data):
    series = read_series(str(shared_data / "time_series" / "airline-passengers.csv"), period=12)
    assert len(series.values) == 144 and series.cut == 116
    assert (series.values[0], series.values[-1]) == (112, 432)
    assert (
        len(read_series(str(shared_data / "time_series" / "monthly-sunspots.csv"), period=132).values) == 2820
    )


@pytest.mark.parametrize(
    "content, message",
    [
        ("x,y\n1,2\n1,\n", "line 3: '' is not a number"),
        ("x,y\n1,2\n1,many\n", "line 3: 'many' is not a number"),
        ("x,y\n1,2\n1,nan\n", "line 3: 'nan' is not a number"),
        ("x,y\n1,2\n1,inf\n", "line 3: 'inf' is not a number"),
        ("x,y\n" + "1,2\n" * 8, "has 8 values; a period of 3 needs at least 9"),
        ("", "has 0 values"),
        (b"x,y\n1,\xff\n", "is not UTF-8"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(csv_file, content, message):
    with pytest.raises(UserError) as error:
        read_series(csv_file(content), period=3)
    assert message in str(error.value) and "my-sales.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named():
    with pytest.raises(UserError, match="no series file 'nowhere.csv'"):
        read_series("nowhere.csv", period=3)


@given(st.integers(1, 500))
def test_about_a_fifth_is_held_out(count):
    series = Series("x", np.arange(float(count)), 1)
    held_out = count - series.cut
    assert held_out >= 1 and abs(held_out - count / 5) <= 1


def test_tea_sales_have_growth_and_a_season():
    values = np.log(tea_sales().values)
    assert len(values) == 240 and tea_sales().period == 12
    assert values[-60:].mean() > values[:60].mean() + 0.5
    months = np.arange(240)
    rest = values - np.polyval(np.polyfit(months, values, 1), months)
    season = np.array([rest[month::12].mean() for month in range(12)])
    assert season.var() > 0.75 * rest.var()


def test_tea_sales_depend_on_the_seed_alone():
    assert np.array_equal(tea_sales(3).values, tea_sales(3).values)
    assert not np.array_equal(tea_sales(3).values, tea_sales(4).values)
