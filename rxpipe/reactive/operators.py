"""reactivex's operators as steps of a graph."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import reactivex.operators
from reactivex import Observable, never
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Context, current
from rxpipe.elements import Batch, FileEvent, LineDelta, OriginGone
from rxpipe.errors import ParameterError, ParameterProblem, RxpipeError
from rxpipe.language.edges import members, type_name
from rxpipe.operator import Operator, element_type
from rxpipe.promises import Inflow, Lint, Promise
from rxpipe.reactive.forms import ELEMENT, LIST, Form, form_of, is_stream
from rxpipe.reactive.refused import HIDDEN, HOLDING, LEADING, PATIENT, REFUSED
from rxpipe.registry import REACTIVE

_STARRED = inspect.Parameter.VAR_POSITIONAL
_LEASED = "it holds elements, and a checkpoint would wait for ever for what they were made of"


class Reactive(Operator):
    """An operator of reactivex under the name `rx.NAME`.

    Args:
        name: Its name in reactivex.

    Raises:
        RxpipeError: It cannot be offered; the message says why.
    """

    def __init__(self, name: str) -> None:
        self.original: Callable[..., Any] = getattr(reactivex.operators, name)
        self.forms, self._values = _forms(name, self.original)
        self.holds = name in HOLDING
        super().__init__(self._applied)
        self.name = REACTIVE + name
        self.module = self.original.__module__
        self.doc = _doc(self, inspect.getdoc(self.original) or "")
        self.signature = _signature(self.original, self.forms)
        self.hints = {"source": Observable[Any], **{k: form.hint for k, form in self.forms.items()}}
        self.hints["return"] = Observable[Any]
        if name in LEADING:
            self.lint_rule = _loses_last
            self.promise_rule = _drops
        if name in PATIENT:
            self.lint_rule = _starves
        self._timed = "scheduler" in inspect.signature(self.original).parameters
        self._each = [key for key, form in self.forms.items() if form.over == ELEMENT]

    @property
    def family(self) -> str:
        """The same for all of them."""
        return "rx"

    @property
    def where(self) -> str:
        """File and line in reactivex."""
        code = self.original.__code__
        return f"{code.co_filename}:{code.co_firstlineno}"

    def objection(self, arriving: Any) -> str:
        """Why elements of a type cannot come in, whatever the annotation says."""
        leased = [member for member in members(arriving) if member in (Batch, LineDelta)]
        if not self.holds or not leased:
            return ""
        return f"{self.name} cannot take {' or '.join(map(type_name, leased))}: {_LEASED}"

    def validate(self, raw: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
        """The parameters checked, by reactivex too.

        Raises:
            ParameterError: With all problems at once.
        """
        checked = super().validate(raw, folder)
        if len(self.inputs) == 1:
            try:
                self._step((), checked)(never())
            except Exception as error:
                message = f"{type(error).__name__}: {error}".removesuffix(": ")
                raise ParameterError(self.name, [ParameterProblem((), message)]) from error
        return checked

    def _step(self, streams: tuple[Any, ...], given: Mapping[str, Any]) -> Callable[[Observable[Any]], Observable[Any]]:
        """The operator of reactivex with its parameters; expressions are functions now."""
        keywords = {k: v if v is None else self.forms[k].convert(v) for k, v in given.items()}
        starred: list[Any] = keywords.pop(self._values, None) or [] if self._values else []
        made: Callable[[Observable[Any]], Observable[Any]] = self.original(*streams, *starred, **keywords)
        return made

    def _applied(self, source: Observable[Any], *streams: Observable[Any], **given: Any) -> Observable[Any]:
        def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
            context = current()
            times = context.scheduler(scheduler) if self._timed else scheduler
            each = [self.forms[key].convert(given[key]) for key in self._each if given.get(key) is not None]
            step = self._step(streams, given)  # whatever it keeps is of this subscription alone
            return step(self._guarded(source, each, context, observer)).subscribe(observer, scheduler=times)

        return Observable(subscribe)

    def _guarded(
        self, source: Observable[Any], each: list[Callable[[Any], Any]], context: Context, around: ObserverBase[Any]
    ) -> Observable[Any]:
        """The source without elements for which an expression fails; `OriginGone` goes around the operator."""

        def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
            def on_next(element: Any) -> None:
                if isinstance(element, OriginGone):
                    around.on_next(element)
                    return
                leases = _leases_of(element)
                if self.holds and leases:
                    observer.on_error(RxpipeError(f"{context.name}: {self.objection(type(element))}"))
                    return
                try:
                    for function in each:
                        function(element)
                except Exception as error:  # whatever an expression raises concerns this element
                    context.reject(error, element, leases=leases)
                    return
                observer.on_next(element)

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)


def _loses_last(_: Inflow, /, **__: object) -> Iterator[Lint]:
    message = "the last value of a burst is lost, since only the first passes; 'throttle' ends with the last one"
    yield Lint("loses_last", message)


def _drops(_: Inflow, /, **__: object) -> Promise:
    return Promise("at-most-once", "of what comes in a burst only the first passes")


def _starves(inflow: Inflow, /, **__: object) -> Iterator[Lint]:
    if inflow.has(FileEvent):
        yield Lint(
            "starves", "a file that is written to without pause is held for as long; take 'debounce' with 'at_most'"
        )


@cache
def find(name: str) -> Reactive | None:
    """The operator `rx.NAME`, or None if it is not offered."""
    return Reactive(name.removeprefix(REACTIVE)) if name in names() else None


def names() -> list[str]:
    """The names `rx.NAME` that are offered, sorted."""
    return sorted(name for name, why in _all().items() if why is None)


def refusals() -> dict[str, str]:
    """Why all others are not offered, by their names."""
    return {name: why for name, why in sorted(_all().items()) if why is not None}


@cache
def _all() -> dict[str, str | None]:
    """All operators of reactivex by their names `rx.NAME`, each with the reason why it is not offered, if any."""
    return {REACTIVE + name: REFUSED.get(name) or _unwritable(name) for name in reactivex.operators.__all__}


def _unwritable(name: str) -> str | None:
    try:
        _forms(name, getattr(reactivex.operators, name))
    except RxpipeError as error:
        return str(error)
    return None


def _forms(name: str, original: Callable[..., Any]) -> tuple[dict[str, Form], str | None]:
    """How the parameters are written, and the name of the one that is a list of values.

    Raises:
        RxpipeError: The operator takes or makes something that a graph has no form for.
    """
    hints = inspect.get_annotations(original)
    _check_edges(hints["return"])
    found: dict[str, Form] = {}
    values = None
    without = []
    for key, parameter in inspect.signature(original).parameters.items():
        form = None if (name, key) in HIDDEN else form_of(hints[key])
        if form is not None and parameter.kind is _STARRED and not is_stream(form.hint):
            form, values = LIST, key
        if form is not None:
            found[key] = form
        elif key != "scheduler" or parameter.default is parameter.empty:
            without.append(key)
            if parameter.default is parameter.empty:
                break
    required = [
        key for key in without if inspect.signature(original).parameters[key].default is inspect.Parameter.empty
    ]
    if required or (without and not found):
        msg = f"its parameter {(required or without)[0]!r} has no form in a graph; it takes a function or a scheduler"
        raise RxpipeError(msg)
    return found, values


def _check_edges(hint: Any) -> None:
    """See that an operator makes one stream of one stream, and that elements flow in both.

    Raises:
        RxpipeError: It does not.
    """
    arguments = typing.get_args(hint)
    taken, made = (
        (arguments[0][0], arguments[1]) if len(arguments) > 1 and isinstance(arguments[0], list) else (None, hint)
    )
    if typing.get_origin(made) is not Observable or typing.get_origin(taken) is not Observable:
        msg = "it makes something else of a stream than a stream"
        raise RxpipeError(msg)
    for what, edge in (("takes", taken), ("makes", made)):
        if any(map(is_stream, members(element_type(edge)))):
            msg = f"it {what} streams of streams, which a graph does not have"
            raise RxpipeError(msg)


def _signature(original: Callable[..., Any], forms: Mapping[str, Form]) -> inspect.Signature:
    """The signature as it is in a graph: the source, and the parameters that have a form there."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    made = [inspect.Parameter("source", kind, annotation="Observable[Any]")]
    for key, parameter in inspect.signature(original).parameters.items():
        if key in forms:
            starred = parameter.kind is _STARRED and is_stream(forms[key].hint)
            default = parameter.default
            made.append(
                inspect.Parameter(
                    key,
                    _STARRED if starred else kind,
                    default=None if isinstance(default, type) and default is not parameter.empty else default,
                    annotation=forms[key].text,
                )
            )
    return inspect.Signature(made)


def _doc(operator: Reactive, doc: str) -> str:
    """The docstring of reactivex, without what a graph does not have, and with what an operator of a graph says."""
    text = re.sub(r"\n *\.\. marble::\n(?: +:alt:.*\n)?", "\n", doc)
    text = re.sub(r"^ *(?:Returns:|Raises:|Examples?:?)\n(?:(?: .*)?\n)*", "", f"{text}\n", flags=re.MULTILINE)
    text = re.sub(r"\n{3,}", "\n\n", text).replace("\n    *", "\n    ")
    entries = re.findall(r"^    (\w+): ", text.partition("\nArgs:\n")[2], re.MULTILINE)
    for key in set(entries) - operator.forms.keys():
        text = re.sub(rf"\n    {key}: .*(?:\n     +.*)*", "", text)
    notes = [
        f"`{key}` is an expression over " + " and ".join(f"`{name}`" for name in form.over) + "."
        for key, form in operator.forms.items()
        if form.over and form.over != ELEMENT
    ]
    if any(form.over == ELEMENT for form in operator.forms.values()):
        notes.append(
            "An expression is over the fields of an element that has some, `rows` of a batch, `name` and `rows` of a"
            " table,\nand `value` of anything else. An element for which it fails goes to `errors`."
        )
    if operator.holds:
        notes.append(f"No batches or blocks of lines with leases can come in: {_LEASED}.")
    head, args, tail = text.partition("\nArgs:\n")
    parts = [head.strip(), *notes, f"Args:\n{tail.rstrip()}" if args and operator.forms else ""]
    return "\n\n".join([*filter(None, parts), "State: none is kept; each run begins anew."])


def _leases_of(element: Any) -> tuple[Any, ...]:
    if isinstance(element, LineDelta):
        return () if element.lease is None else (element.lease,)
    return element.leases if isinstance(element, Batch) else ()
