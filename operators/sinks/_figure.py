"""Rows drawn as lines or bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rxpipe.elements import Row
from rxpipe.expressions.rowview import reader
from rxpipe.extras import extra
from rxpipe.private import make_folder, replacing

COLOURS = ["#2b6cb0", "#dd6b20", "#2f855a", "#b83280", "#6b46c1", "#b7791f", "#0987a0", "#c53030"]
"""Told apart also by those who see few colours, on white."""

INK, GREY, GRID = "#1a202c", "#4a5568", "#e2e8f0"
MOST_LEGEND = 20
MOST_NAMES = 30
LONGEST_NAME = 24
MOST_CHARACTERS = 110
"""That fit below the axis side by side."""

DPI = 144


class Look(NamedTuple):
    """What is drawn of the rows.

    Attributes:
        kind: `line` or `bar`.
        x: The column, or expression, of the horizontal axis; the number of the row without.
        y: Those of the vertical axis.
        by: The column whose values are lines, or bars, of their own.
        title: The heading.
        x_label: What the horizontal axis says.
        y_label: What the vertical axis says.
        size: Width and height in pixels.
    """

    kind: str
    x: str | None
    y: list[str]
    by: str | None
    title: str
    x_label: str
    y_label: str
    size: tuple[int, int]


Points = tuple[list[Any], list[float]]


def curves(look: Look, rows: list[Row]) -> dict[str, Points]:
    """The points of each line, or set of bars, by its name; a row without a number is a gap."""
    read_x = None if look.x is None else reader(look.x)
    read_by = None if look.by is None else reader(look.by)
    found: dict[str, Points] = {}
    for column in look.y:
        read = reader(column)
        for number, row in enumerate(rows):
            name = column
            if read_by is not None:
                name = str(read_by(row)) if len(look.y) == 1 else f"{read_by(row)}, {column}"
            x = number if read_x is None else read_x(row)
            if x is None:
                continue
            xs, ys = found.setdefault(name, ([], []))
            xs.append(x)
            ys.append(_number(read(row)))
    return found


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan
    except OverflowError:  # a whole number that is no float
        return math.nan


def draw(look: Look, rows: list[Row], path: Path) -> None:
    """Draw rows into a file, in place of what was there; to be called on any thread.

    Raises:
        OSError: It cannot be written.
    """
    figures = extra("matplotlib.figure", "plot", "to_plot")
    width, height = look.size
    figure = figures.Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    axes = figure.add_subplot()
    found = curves(look, rows)
    _dress(axes, look)
    if not any(xs for xs, _ in found.values()):
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", va="center", color=GREY)
        axes.set(xticks=[], yticks=[])
    elif look.kind == "line":
        _lines(axes, found)
    else:
        _bars(axes, found)
    if len(found) > 1:
        _legend(axes, found)
    make_folder(path.parent)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), metadata=_undated(path))


def _undated(path: Path) -> Mapping[str, str | None]:
    """Leave the time out of the file: the same rows give the same picture."""
    return {"Date": None} if path.suffix.lower() == ".svg" else {}


def _dress(axes: Any, look: Look) -> None:
    axes.set_title(_plain(look.title), loc="left", color=INK, fontsize=12, fontweight="bold", pad=10)
    axes.set_xlabel(_plain(look.x_label), color=GREY, fontsize=9)
    axes.set_ylabel(_plain(look.y_label), color=GREY, fontsize=9)
    axes.tick_params(colors=GREY, labelsize=8, length=0)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))


def _lines(axes: Any, found: dict[str, Points]) -> None:
    place = _placing([x for xs, _ in found.values() for x in xs])
    names: dict[str, int] = {}
    for number, (name, (xs, ys)) in enumerate(found.items()):
        few = len(xs) <= MOST_NAMES
        places = [*map(place, xs)]
        if place is _text:
            places = [names.setdefault(x, len(names)) for x in places]
        axes.plot(
            places,
            ys,
            label=_label(name),
            color=COLOURS[number % len(COLOURS)],
            linestyle=["-", "--", ":", "-."][number // len(COLOURS) % 4],
            linewidth=1.8,
            marker="o" if few else None,
            markersize=3.5,
        )
    axes.margins(x=0.02)
    if place is _time:
        dates = extra("matplotlib.dates", "plot", "to_plot")
        locator = dates.AutoDateLocator(minticks=3, maxticks=8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
        axes.xaxis.get_offset_text().set(color=GREY, fontsize=8)
    elif place is _text:
        _name_ticks(axes, [*names])
    else:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.10g}")
    _from_zero(axes, found)


def _bars(axes: Any, found: dict[str, Points]) -> None:
    places = {x: at for at, x in enumerate(dict.fromkeys(str(x) for xs, _ in found.values() for x in xs))}
    width = 0.8 / len(found)
    for number, (name, (xs, ys)) in enumerate(found.items()):
        shift = (number - (len(found) - 1) / 2) * width
        axes.bar(
            [places[str(x)] + shift for x in xs],
            ys,
            width=width * (0.92 if len(found) > 1 else 1),
            label=_label(name),
            color=COLOURS[number % len(COLOURS)],
        )
    _name_ticks(axes, [*places])
    _from_zero(axes, found)


def _name_ticks(axes: Any, names: list[str]) -> None:
    """Names below the axis: not so many that they overlap, and slanted where they are long."""
    step = -(-len(names) // MOST_NAMES)
    shown = [_plain(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…") for name in names[::step]]
    long = max(map(len, shown)) * len(shown) > MOST_CHARACTERS
    axes.set_xticks(range(0, len(names), step), shown, rotation=35 if long else 0, ha="right" if long else "center")


def _from_zero(axes: Any, found: dict[str, Points]) -> None:
    """Begin at 0 where nothing is below it: a height is then what it looks like."""
    values = [y for _, ys in found.values() for y in ys if not math.isnan(y)]
    if values and min(values) >= 0:
        axes.set_ylim(bottom=0, top=None if max(values) > 0 else 1)


def _legend(axes: Any, found: dict[str, Points]) -> None:
    handles, names = axes.get_legend_handles_labels()
    more = len(found) - MOST_LEGEND
    if more > 0:
        names = [*names[: MOST_LEGEND - 1], f"and {more + 1} more"]
        handles = handles[:MOST_LEGEND]
    axes.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        borderaxespad=0,
        frameon=False,
        fontsize=8,
        labelcolor=GREY,
    )


def _placing(values: list[Any]) -> Callable[[Any], Any]:
    """What places all values on one axis: as numbers, as times, or else by their names."""
    if all(isinstance(x, int | float) and not isinstance(x, bool) for x in values):
        return _number
    try:
        for x in values:
            _time(x)
    except (TypeError, ValueError):
        return _text
    return _time


def _time(x: Any) -> datetime:
    """A time, or a text that tells one, in UTC.

    Raises:
        ValueError: It tells none.
        TypeError: It is no text.
    """
    told = x if isinstance(x, datetime) else datetime.fromisoformat(x)
    return told.astimezone(UTC).replace(tzinfo=None) if told.tzinfo is not None else told


def _text(x: Any) -> str:
    return str(x)


def _short(value: float) -> str:
    """A number in a few characters: 0.5, 1.5k, 20k, 3M."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _plain(text: str) -> str:
    """A text in which no formula is looked for, and that can be drawn: half of a surrogate pair cannot."""
    return text.encode("utf-8", "replace").decode().replace("$", r"\$")


def _label(name: str) -> str:
    """A name that the legend shows, which it does not if it begins with an underscore."""
    return _plain(f" {name}" if name.startswith("_") else name)
