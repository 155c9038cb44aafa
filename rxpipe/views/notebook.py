"""How a graph shows itself in a notebook: drawn as SVG, with its problems as text where it has any."""

from __future__ import annotations

from rxpipe.errors import GraphError, RxpipeError
from rxpipe.graph import Graph
from rxpipe.views.show import show


def graph_bundle(graph: Graph) -> dict[str, str]:
    """The graph's MIME bundle: a text tree, and a drawing that needs neither network nor scripts."""
    try:
        plan = graph.plan()
    except GraphError as error:
        return {"text/plain": f"{graph!r}\n\n{error}"}
    except RxpipeError as error:
        return {"text/plain": f"{graph!r}\n\n{error}"}
    return {"text/plain": show(plan), "image/svg+xml": show(plan, "svg")}
