"""The rules of the house: where a module may live, what it may import, and how it is named and written.

Everything is read from the source by `ast`; nothing of the package is imported or run.
"""

import ast
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hf_llmpath"
STAGE = re.compile(r"stages\.s\d\d_\w+")
FIXED = {"__init__", "__main__", "train", "charts", "demo", "practice"}  # files that every stage has

# What only one stage reaches and yet is not in its folder, or nothing in the package imports, and why.
HERE_BECAUSE = {
    "convert.": "public API: weights of other libraries in and out",
    "models.": "one flat folder that travels to the Hub",
    "scratch.": "a library of its own, in NumPy alone",
    "training.distributed.": "public API: any training can be started in several processes",
    "training.gpt_script": "the former name of a script, for one release",
}
# From the bottom to the top: a module imports from its own floor and from those below it.
FLOORS = (
    {"models", "scratch", "world", "errors"},
    {"", "charts", "convert", "data", "decoding", "deploy", "hub", "learn", "training"}
    | {"machine", "metrics", "pipelines", "registration", "runs", "settings"},
    {"stages"},
    {"ui"},
    {"__main__", "cli"},
)
GIVEAWAYS = {
    r"\b(mend|mends|mended)\b": "fix",
    r"\bby heart\b": "memorize",
    r"\brightly\b": "correctly",
    r"\bbeside\b": "next to, compared with",
    r"\bsuch a one\b": "one like it",
    r"\bas it were\b": "leave it out",
    r"\bgoes on (with|from|where)\b": "continues",
    r"\bwhat is of\b": "name the thing",
    r"(^|[.:] )Of (a|an|the|those|what|our)\b": "begin with the subject",
    r"\bso that\b.*\bso that\b": "two sentences",
    r"(?i)\b\w*(optim|minim|maxim|regular|vector|quant|general|initial|normal|token|visual|summar|special"
    r"|organ|recogn|serial|random|standard|factor|memor|penal|real|util|final|character|local|central"
    r"|parametr|emphas)is(e|es|ed|er|ers|ing|ation|ations)\b": "American: -ize",
    r"(?i)\b\w*(colour|behaviour|neighbour|favour|labour|honour)\w*": "American: -or",
    r"\b(centre|metre|fibre)s?\b": "American: -er",
    r"\b(licence|defence|grey|whilst|cancelled|labelled|modelled|modelling|travelled)\b": "American spelling",
}
# Data in which such words stand: keys in the run folders of earlier versions, and sentences of the world.
QUOTED = ('["centres"]', '("neighbours")', "Please mend my book", "Who can mend it?")
VAGUE = ("found", "part", "place", "read", "there")
HONEST_USES = 5  # of each of them as a name, in the whole package


# The import graph


def name_of(path: Path) -> str:
    """The dotted name under `hf_llmpath`; that of the package itself is empty."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[int, str, str]]:
    """Every import of a file as `(level, module, name)`; a plain `import x` has no name. What is imported for
    its types alone, under `if TYPE_CHECKING:`, is not loaded and not counted.
    """
    todo: list[ast.AST] = [tree_of(path)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, node.module or "", alias.name) for alias in node.names)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            todo += ast.iter_child_nodes(node)


@cache
def imported(module: str) -> frozenset[str]:
    """The modules of the package that a module imports, also inside its functions."""
    path, modules = FILES[module], set()
    for level, origin, name in imports(path):
        if level:
            package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
            package = package[: len(package) - (level - 1)]
            origin = ".".join(filter(None, [*package, origin]))
        elif origin.partition(".")[0] == "hf_llmpath":
            origin = origin.removeprefix("hf_llmpath").removeprefix(".")
        else:
            continue
        inner = f"{origin}.{name}".removeprefix(".")
        modules.add(inner if inner in FILES else origin)
    return frozenset(modules & FILES.keys())


def reached(roots: Iterable[str], stop: re.Pattern | None = None) -> set[str]:
    """The modules that are loaded with `roots`, in the end; those that match `stop` are left out."""
    todo, seen = list(roots), set()
    while todo:
        module = todo.pop()
        if module not in seen and not (stop and stop.match(module)):
            seen.add(module)
            todo += imported(module)
    return seen


def room(module: str) -> str:
    return module.partition(".")[0]


def stage_of(module: str) -> str | None:
    match = STAGE.match(module)
    return match and match.group()


STAGES = sorted({stage for stage in map(stage_of, FILES) if stage})
REACHED = {stage: reached(m for m in FILES if stage_of(m) == stage) for stage in STAGES}


def test_the_graph_sees_imports():
    """The tests below would notice: the graph has the imports that are certainly there."""
    assert len(STAGES) == 17
    assert {"stages.stage", "settings"} <= imported("stages.s07_rnn")
    assert "models.modeling_gpt" in REACHED["stages.s16_rlhf"]
    assert not any("" in imported(module) for module in FILES if room(module) == "models")


# Where a module lives


def test_a_module_lives_with_its_only_consumer():
    stages_that_reach = defaultdict(set)
    for stage, modules in REACHED.items():
        for module in modules:
            stages_that_reach[module].add(stage)
    # The command line, the package itself and what travels to a Space are consumers too.
    others = ("", "cli", "hub", "learn", "pipelines", "registration", "__main__")
    shared = reached((m for m in FILES if room(m) in others), stop=STAGE)
    lonely = [
        f"{module} is reached by {stage} alone: move it there"
        for module, (stage, *more) in stages_that_reach.items()
        if not more
        and module not in shared
        and room(module) != "stages"
        and FILES[module].name != "__init__.py"
        and not module.startswith(tuple(HERE_BECAUSE))
    ]
    assert not lonely, "\n".join(sorted(lonely))


def test_every_module_is_used():
    entries = ("", "__main__", "cli", "pipelines", "registration")
    roots = [m for m in FILES if room(m) in entries or stage_of(m) and m.rpartition(".")[2] in FIXED]
    spaces = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("spaces/*/app.py"))
    used = reached(roots + STAGES + [m for m in FILES if f"hf_llmpath.{m} " in spaces])
    unused = [
        module
        for module in FILES.keys() - used
        if FILES[module].name != "__init__.py" and not module.startswith(tuple(HERE_BECAUSE))
    ]
    assert not unused, f"nothing imports {', '.join(sorted(unused))}: delete them or say why they are public"


def test_a_stage_reaches_few_shared_modules():
    own = ("stages", "models", "world")
    sizes = {stage: sum(room(m) not in own for m in modules) for stage, modules in REACHED.items()}
    # 22 is the aim; until then no change may make it worse.
    assert statistics.median(sizes.values()) <= 32, f"shared modules that a stage reaches: {sizes}"


# What a module may import


def test_imports_go_one_way():
    floor = {name: height for height, rooms in enumerate(FLOORS) for name in rooms}
    strangers = {room(module) for module in FILES} - floor.keys()
    assert not strangers, f"new rooms {strangers}: give them a floor in FLOORS"
    upward = [
        f"{module} ({room(module) or 'package'}) imports {other}"
        for module in FILES
        for other in imported(module)
        if floor[room(module)] < floor[room(other)]
        and not (stage_of(module) and room(other) == "ui")  # its pages; the next test looks at them
    ]
    assert not upward, "rooms below import from rooms above:\n" + "\n".join(sorted(upward))


@pytest.mark.parametrize("stage", STAGES)
def test_only_the_pages_of_a_stage_import_the_ui(stage):
    work = reached([stage, *(f"{stage}.{name}" for name in FIXED - {"demo"} if f"{stage}.{name}" in FILES)])
    wrong = [
        f"{m} imports {other}" for m in work if stage_of(m) for other in imported(m) if room(other) == "ui"
    ]
    assert not wrong, "only demo.py, and what demo.py alone reaches, may use the ui:\n" + "\n".join(wrong)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_does_not_import_another(stage):
    wrong = [
        f"{module} imports {other}"
        for module in FILES
        if stage_of(module) == stage
        for other in imported(module)
        if stage_of(other) not in (None, stage)
    ]
    assert not wrong, "what two stages share belongs in a shared room:\n" + "\n".join(wrong)


def test_scratch_needs_numpy_only():
    for module in FILES:
        if room(module) == "scratch":
            for level, origin, _ in imports(FILES[module]):
                allowed = {*sys.stdlib_module_names, "numpy"}
                assert level == 1 or (level == 0 and room(origin) in allowed), f"{module}: import {origin}"


def test_models_can_travel():
    """The Hub takes a modeling file with the siblings that it names; nothing else comes along."""
    everywhere = {*sys.stdlib_module_names, "torch", "transformers", "huggingface_hub"}
    for path in (PACKAGE / "models").glob("*.py"):
        # What transformers' image processors work with is where they are.
        allowed = everywhere | ({"numpy", "PIL"} if path.name.startswith("image_processing") else set())
        for level, module, _ in imports(path):
            if level:
                assert level == 1 and module and "." not in module, f"{path.name}: from {'.' * level}{module}"
            else:
                assert room(module) in allowed, f"{path.name}: import {module}"


# Names


def test_no_two_modules_share_a_name():
    paths = defaultdict(list)
    for module, path in FILES.items():
        if path.stem not in FIXED and room(module) != "scratch":
            paths[path.stem].append(module)
    twice = {name: modules for name, modules in paths.items() if len(modules) > 1}
    assert not twice, "\n".join(f"{name}: {', '.join(modules)}" for name, modules in sorted(twice.items()))


def test_no_two_public_classes_share_a_name():
    modules = defaultdict(list)
    for module, path in FILES.items():
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and node.name[0] != "_" and room(module) != "scratch":
                modules[node.name].append(module)
    twice = {name: where for name, where in modules.items() if len(where) > 1}
    assert not twice, "\n".join(f"{name}: {', '.join(where)}" for name, where in sorted(twice.items()))


def names_given(path: Path) -> Iterator[tuple[str, int]]:
    """`(name, line)` of every variable, argument and function that a file names."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef):
            yield node.name, node.lineno


@pytest.mark.parametrize("word", VAGUE)
def test_a_name_says_what_the_thing_is(word):
    uses = [
        f"{path.relative_to(ROOT)}:{line}"
        for module, path in FILES.items()
        for name, line in names_given(path)
        if name == word and room(module) != "world"  # where a place is a place
    ]
    assert len(uses) <= HONEST_USES, f"'{word}' says nothing; name the thing:\n" + "\n".join(uses)


# Text


def sources(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern) if ".venv" not in path.parts)


CODE = ("hf_llmpath/**/*.py", "tests/**/*.py", "spaces/**/*.py")
PROSE = ("*.md", "hf_llmpath/**/*.md", "model_cards/*.md", "spaces/**/*.md")


def test_lines_end_at_110():
    long = [
        f"{path.relative_to(ROOT)}:{number}: {len(line)} characters"
        for path in sources(*CODE)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line) > 110
    ]
    assert not long, f"{len(long)} lines:\n" + "\n".join(long)


def test_the_english_is_american_and_not_translated():
    hits = [
        f"{path.relative_to(ROOT)}:{number}: '{match.group().strip()}' ({better})"
        for path in sources(*CODE, *PROSE)
        if path != Path(__file__) and "world" not in path.parts  # the texts of the world are data
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for pattern, better in GIVEAWAYS.items()
        if (match := re.search(pattern, line)) and not any(quote in line for quote in QUOTED)
    ]
    assert not hits, f"{len(hits)} places:\n" + "\n".join(hits)


def test_nothing_reads_a_pickle():
    pattern = re.compile(r"torch\.load\(|pickle\.load|weights_only=False|trust_remote_code=True")
    for path in FILES.values():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            shown = line.lstrip().startswith(("#", '"', "'", "`")) or '"' in line or "`" in line
            assert not pattern.search(line) or shown, f"{path}:{number}"
