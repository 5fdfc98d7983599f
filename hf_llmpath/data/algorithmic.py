"""Makes tasks with known rules that probe what an architecture can remember, compare, and rearrange."""

import calendar
import datetime
import random
import string
import zlib
from collections.abc import Callable, Iterable

import torch
from tokenizers import AddedToken, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .tokenizers.characters import END, train_character_tokenizer

TOY_SPLITS = ("train", "validation", "test", "longer")
SHORTEST, LONGEST = 3, 12  # number of letters to reverse or sort
LONGER = (13, 18)  # range of the number of letters in the split "longer"
_YEARS = (1900, 2099)
_MONTHS = [name.lower() for name in calendar.month_name]


def adding_problem(examples: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Makes sequences whose two marked numbers are to be added (Hochreiter & Schmidhuber 1997, section 5.4).

    Each step has a number drawn uniformly from [0, 1] and a marker. The marker is 1 at one place in the first
    half and at one place in the second half, and 0 elsewhere. Always answering 1 gives a mean squared error
    of 1/6.

    Args:
        examples: number of sequences.
        length: number of steps in a sequence, at least 2.
        generator: source of randomness.

    Returns:
        The inputs `(examples, length, 2)` and the targets `(examples,)`.
    """
    half = length // 2
    numbers = torch.rand(examples, length, generator=generator)  # (examples, length)
    first = torch.randint(0, half, (examples,), generator=generator)  # (examples,)
    second = torch.randint(half, length, (examples,), generator=generator)  # (examples,)
    rows = torch.arange(examples)
    markers = torch.zeros(examples, length)
    markers[rows, first] = markers[rows, second] = 1.0
    # Twice (examples, length) -> (examples, length, 2); the targets are (examples,).
    return torch.stack([numbers, markers], dim=-1), numbers[rows, first] + numbers[rows, second]


def toy_pairs(task: str, split: str, count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Returns examples of a toy task: `(source, target)`.

    | task | source | target |
    |---|---|---|
    | reverse | `reverse: stream` | `maerts` |
    | sort | `sort: stream` | `aemrst` |
    | date | `date: 3 march 1998` | `1998-03-03` |

    Dates come in the formats of `date_formats`. No two splits share an answer: a hash of the answer selects
    its split, and the words of the split `longer` are longer than all others. The task `date` has no split
    `longer`.

    Args:
        task: a key of `TOY_TASKS`.
        split: one of `TOY_SPLITS`.
        count: number of examples.
        seed: seed of the random draws; a different one gives different examples of the same split.

    Raises:
        ValueError: the task or split is unknown, or longer dates were requested.
    """
    if task not in TOY_TASKS:
        raise ValueError(f"unknown task '{task}'; there are {', '.join(TOY_TASKS)}")
    if split not in TOY_SPLITS or (split, task) == ("longer", "date"):
        raise ValueError(f"task {task} has no split '{split}'")
    rng = random.Random(f"{seed}/{task}/{split}")
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:  # rejection sampling: draw until an answer belongs to the split
        source, target = TOY_TASKS[task](rng, split == "longer")
        if split in ("longer", split_of(target)):
            pairs.append((f"{task}: {source}", target))
    return pairs


def split_of(answer: str) -> str:
    """Returns the split of an answer: eight tenths are for training, one each for validation and test."""
    # CRC-32 rather than `hash`, which gives a string a different value in every process.
    return {0: "test", 1: "validation"}.get(zlib.crc32(answer.encode()) % 10, "train")


def date_formats(date: datetime.date) -> list[str]:
    """Returns the date in every format of the task `date`."""
    day, month, year = date.day, _MONTHS[date.month], date.year
    # 11, 12, and 13 end in "th", although 1, 2, and 3 do not.
    ending = "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return [
        f"{day} {month} {year}",
        f"{month} {day}, {year}",
        f"{day}{ending} of {month} {year}",
        f"{day} {month[:3]} {year}",
        f"{day}.{date.month}.{year}",
        f"{year}/{date.month}/{day}",
    ]


def _letters(rng: random.Random, longer: bool) -> str:
    shortest, longest = LONGER if longer else (SHORTEST, LONGEST)
    return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(shortest, longest)))


def _reverse(rng: random.Random, longer: bool) -> tuple[str, str]:
    letters = _letters(rng, longer)
    return letters, letters[::-1]


def _sort(rng: random.Random, longer: bool) -> tuple[str, str]:
    letters = _letters(rng, longer)
    return letters, "".join(sorted(letters))


def _date(rng: random.Random, longer: bool) -> tuple[str, str]:
    first, last = datetime.date(_YEARS[0], 1, 1).toordinal(), datetime.date(_YEARS[1], 12, 31).toordinal()
    date = datetime.date.fromordinal(rng.randint(first, last))
    return rng.choice(date_formats(date)), date.isoformat()


TOY_TASKS: dict[str, Callable[[random.Random, bool], tuple[str, str]]] = {
    "reverse": _reverse,
    "sort": _sort,
    "date": _date,
}


def toy_tokenizer(tasks: Iterable[str] = tuple(TOY_TASKS)) -> PreTrainedTokenizerFast:
    """Makes a tokenizer with a token per character and task name; every text ends with the end token."""
    # A fixed alphabet, so that no sample of the data can change the vocabulary.
    tokenizer = train_character_tokenizer(
        [string.ascii_lowercase + string.digits + " .,/-"], byte_fallback=False
    )
    tokenizer.add_tokens([AddedToken(f"{task}: ", normalized=False) for task in tasks])
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.eos_token_id)]
    )
    return tokenizer
