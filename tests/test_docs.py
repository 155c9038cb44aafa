"""The picture of the screen shows what the graph shows today; `make docs` draws it anew."""

from __future__ import annotations

import html
import importlib.util
import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def texts(file: Path) -> list[str]:
    """What stands in a picture, whatever it is drawn with."""
    found = re.findall(r"<text[^>]*>(.*?)</text>", file.read_text(encoding="utf-8"), re.DOTALL)
    return [html.unescape(text) for text in found]


def test_the_picture_of_the_screen(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_screen", DOCS / "make_screen.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path / "screen.svg")
    shown = texts(DOCS / "screen.svg")
    assert texts(tmp_path / "screen.svg") == shown, "docs/screen.svg: differs; run make docs"
    drawn = (DOCS / "screen.svg").read_text(encoding="utf-8")
    assert "url(http" not in drawn  # a page that shows it loads nothing else
    assert "<script" not in drawn
