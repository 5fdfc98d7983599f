"""`llmpath bench`: measures speed, size, and quality of a trained decoder in every form."""

from typing import Annotated

import typer

from ..errors import UserError
from ..runs import write_json
from . import terminal
from .options import AsJson, OutputDir, complete_run
from .terminal import RUNS

_COLUMNS = {  # field of `deploy.speed.Row` -> heading and format of its column
    "tokens_per_second": ("tokens/s", "{:,.0f}"),
    "first_token_ms": ("first token, ms", "{:.2f}"),
    "megabytes": ("MB", "{:.2f}"),
    "perplexity": ("perplexity", "{:.4g}"),
    "agreement": ("as 32 bits", "{:.1%}"),
}


def bench(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="The benchmark to run; there is one: inference.")
    ] = "inference",
    stage: Annotated[str, typer.Option(help="Measure the trained model of this stage.")] = "inference",
    tokens: Annotated[int, typer.Option(min=2, help="Tokens to write in each measurement.")] = 48,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements to take the median of.")] = 9,
    output_dir: OutputDir = RUNS,
    as_json: AsJson = False,
) -> None:
    """Measure a trained model in every form: speed, size, perplexity, agreement; as a table and a picture."""
    if name != "inference":
        raise UserError(f"no benchmark '{name}'; there is: inference")
    _, folder = complete_run(stage, output_dir)
    # Imported after the checks, because torch takes seconds to load.
    from ..deploy import delivery
    from ..stages.s14_inference.charts import trade_off

    rows = delivery.measure_forms(folder, tokens, repeats)
    write_json(folder.bench_dir / "inference.json", rows)
    picture = trade_off(rows).save(folder.bench_dir / "inference.png")
    if as_json:
        terminal.print_json(rows)
        return
    headings = ["form", *(heading for heading, _ in _COLUMNS.values())]
    cells = [
        [form, *(style.format(row[n]) for n, (_, style) in _COLUMNS.items())] for form, row in rows.items()
    ]
    terminal.out.print(terminal.table(headings, cells, right=[1, 2, 3, 4, 5]))
    terminal.facts([("Picture", str(picture))])
