"""One measured figure, the table people read and the file machines read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measurement with what it should be and what the bare machine did in the same run."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False
    """Whether more is better; otherwise less is."""
    bare: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


def percentile(values: list[float], percent: int) -> float:
    """The `percent`-th percentile (1 to 99) of a list that is not empty."""
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def show(figures: list[Figure], console: Console) -> None:
    """Print the table."""
    table = Table(title="Measured", title_justify="left")
    for heading, justify in (("figure", "left"), ("value", "right"), ("target", "right"), ("bare", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("met")
    for figure in figures:
        sign = "≥" if figure.at_least else "≤"
        target = "" if figure.target is None else f"{sign} {_number(figure.target)}"
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[figure.met]
        bare = "" if figure.bare is None else _number(figure.bare)
        name = f"{figure.name} [dim]{figure.note}[/]" if figure.note else figure.name
        table.add_row(name, f"{_number(figure.value)} {figure.unit}", target, bare, met)
    console.print(table)


def write(figures: list[Figure], path: Path) -> None:
    """Write the figures as a list of objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(figure), "met": figure.met} for figure in figures]
    path.write_text(json.dumps(rows, indent=2) + "\n")


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
