"""What became of the tests of graphs, as JUnit XML for the machines that run them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

if TYPE_CHECKING:
    from rxpipe.testing.graphtest import Outcome

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may hold."""


def junit(outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """The document: a suite for each graph, a case for each of its tests."""
    root = Element("testsuites")
    for source, found in outcomes.items():
        failed = sum(bool(outcome.failures) for outcome in found)
        suite = SubElement(root, "testsuite", name=_text(source), tests=str(len(found)), failures=str(failed))
        suite.attrib |= {"errors": "0", "time": f"{sum(outcome.seconds for outcome in found):.3f}"}
        for outcome in found:
            case = SubElement(suite, "testcase", classname=_text(source), name=_text(outcome.case.name))
            case.set("time", f"{outcome.seconds:.3f}")
            if outcome.case.place is not None:
                case.attrib |= {"file": _text(outcome.case.place.file), "line": str(outcome.case.place.line)}
            if outcome.failures:
                failure = SubElement(case, "failure", message=_text(outcome.failures[0].message))
                failure.text = _text("\n".join(map(str, outcome.failures)))
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
