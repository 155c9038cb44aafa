"""The `@operator` decorator: from a function `(source, parameters) -> observable` to a step of Python and YAML."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar, overload

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.errors import ParameterError, ParameterProblem, RxpipeError
from rxpipe.language.datafiles import looking_in
from rxpipe.parameters.plain import NotPlainError, plain_entries
from rxpipe.registry import registry

if typing.TYPE_CHECKING:
    from pydantic import BaseModel

    from rxpipe.expressions.known import KnownFields
    from rxpipe.promises import CostRule, LintRule, OrderRule, PromiseRule

FieldsRule = Callable[..., "KnownFields"]
"""From the fields of the records that come, and all parameters by name, to those of the records that go."""

P = ParamSpec("P")
A = TypeVar("A")
B = TypeVar("B")


class Outputs:
    """Marks what an operator emits beside its main output: elements for those who read `STREAM.OUTPUT`.

    On what the operator returns, `Annotated[Observable[Batch], Outputs(late=Batch)]` names outputs and their element
    types. On a parameter, `Annotated[list[str], Outputs(Batch)]` says that each name in it is an output; of a mapping
    or of `**parameters` the keys are. The operator asks for the way there with `current().emitter(name)`.

    Args:
        each: The element type of the outputs that a parameter names.
        named: The element types of outputs by name.
    """

    def __init__(self, each: Any = None, /, **named: Any) -> None:
        self.each = each
        self.named = named


class Operator:
    """One operator: its function and all that the function's signature and docstring tell.

    Args:
        function: `(source, parameters) -> observable`, or `(parameters) -> observable` for a source.

    Attributes:
        partial: For an operator whose work can be divided: a function like its own that is applied in the workers of
            `parallel`, to part of the data, and emits `Partial` elements, which the operator then takes. What it cannot
            divide it passes on.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = function.__name__
        self.module = function.__module__
        self.doc = inspect.cleandoc(function.__doc__ or "")
        self.fields: FieldsRule | None = None
        self.promise_rule: PromiseRule | None = None
        self.order_rule: OrderRule | None = None
        self.lint_rule: LintRule | None = None
        self.cost_rule: CostRule | None = None
        self.partial: Callable[..., Observable[Any]] | None = None

    def __repr__(self) -> str:
        return f"<operator {self.name}>"

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        return self.doc.split("\n\n")[0].replace("\n", " ")

    @property
    def delivery(self) -> str | None:
        """What a sink promises, the first word of its docstring's `Delivery:`, such as exactly-once or idempotent."""
        found = re.search(r"^Delivery:\s+([\w-]+)", self.doc, re.MULTILINE)
        return found[1] if found else None

    @property
    def family(self) -> str:
        """The folder the operator is in: `files`, `time`, `records`."""
        parts = self.module.split(".")
        return parts[-2] if len(parts) > 1 else "plugin"

    @property
    def where(self) -> str:
        """File and line of the function."""
        code = self.function.__code__
        return f"{code.co_filename}:{code.co_firstlineno}"

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The function's signature."""
        return inspect.signature(self.function)

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The function's resolved annotations."""
        return typing.get_type_hints(self.function, include_extras=True)

    @functools.cached_property
    def inputs(self) -> tuple[str, ...]:
        """The names of the parameters that are observables: first the step before, then those of named streams."""
        return tuple(name for name, hint in self.hints.items() if name != "return" and element_type(hint) is not None)

    @functools.cached_property
    def variadic_input(self) -> str | None:
        """The name of a `*sources: Observable[…]` parameter, if there is one."""
        for parameter in self.signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                return parameter.name
        return None

    @property
    def is_source(self) -> bool:
        """Whether the operator starts a stream."""
        return not self.inputs

    @functools.cached_property
    def parameters(self) -> list[inspect.Parameter]:
        """The parameters that are not observables."""
        return [parameter for name, parameter in self.signature.parameters.items() if name not in self.inputs]

    @functools.cached_property
    def model(self) -> type[BaseModel]:
        """The pydantic model of the parameters."""
        from rxpipe.parameters.models import build_model  # needed only where a value is not plainly right

        return build_model(self.name, self.parameters, self.hints)

    def accepts(self, name: str) -> Any:
        """The element type that an input takes."""
        return element_type(self.hints[name])

    def objection(self, arriving: Any) -> str:
        """Why elements of a type cannot come in though the annotation takes them; empty if they can."""
        return ""

    @property
    def emits(self) -> Any:
        """The element type that the operator emits."""
        return element_type(self.hints["return"])

    def outputs(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The element types of the outputs beside the main one, by name.

        Args:
            parameters: The checked parameters.
        """
        mark = marked(self.hints["return"])
        found = {} if mark is None else dict(mark.named)
        for name, each in self.naming.items():
            found |= dict.fromkeys(self._names_in(name, parameters), each)
        return found

    @functools.cached_property
    def naming(self) -> dict[str, Any]:
        """The parameters that name outputs, and the element type of those."""
        marks = {name: marked(hint) for name, hint in self.hints.items() if name != "return"}
        return {name: mark.each for name, mark in marks.items() if mark is not None}

    @functools.cached_property
    def nesting(self) -> list[str]:
        """The parameters that hold steps."""
        return [name for name, hint in self.hints.items() if "steps" in getattr(hint, "__metadata__", ())]

    def _names_in(self, name: str, parameters: Mapping[str, Any]) -> list[str]:
        """The names that a parameter holds."""
        parameter = self.signature.parameters[name]
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return [key for key in parameters if key not in self.signature.parameters]
        default = () if parameter.default is inspect.Parameter.empty else parameter.default
        return list(parameters.get(name, default) or ())

    @functools.cached_property
    def passes(self) -> bool:
        """Whether the operator emits only what it takes: elements of any type, so that it can make none of its own."""
        emits = self.emits
        if not isinstance(emits, TypeVar) or emits.__constraints__ or emits.__bound__ is not None:
            return False
        return any(self.accepts(name) == emits for name in self.inputs)

    def fields_behind(self, known: KnownFields, parameters: Mapping[str, Any] | None) -> KnownFields:
        """The fields of the records that it emits, by its rule; None are parameters that cannot be used."""
        if self.fields is None:
            return known if self.passes else known.unknown()
        return known.unknown() if parameters is None else self.fields(known, **self.with_defaults(parameters))

    def with_defaults(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters: the checked ones, and the defaults of those left out."""
        defaults = {made.name: made.default for made in self.parameters if made.default is not made.empty}
        return {**defaults, **parameters}

    @property
    def unnamed(self) -> str | None:
        """The parameter that a value without a name is for: `where: n > 1`."""
        if self.variadic_input is not None:
            return self.variadic_input
        return next(iter(self._positional), None)

    @property
    def _positional(self) -> list[str]:
        named = self.signature.parameters
        return [
            name
            for name in named
            if name not in self.inputs[:1] and named[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        ]

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Positional and named arguments as named raw parameters, stream inputs included.

        Raises:
            ParameterError: More positional arguments than parameters, or a name given twice.
        """
        bound = dict(kwargs)
        if self.variadic_input is not None:
            if args:
                bound[self.variadic_input] = list(args)
            return bound
        positional = self._positional
        if len(args) > len(positional):
            message = f"takes at most {len(positional)} positional parameters; got {len(args)}"
            raise ParameterError(self.name, [ParameterProblem((), message)])
        given = dict(zip(positional, args, strict=False))
        for name in given:
            if name in bound:
                raise ParameterError(self.name, [ParameterProblem((name,), f"parameter {name!r} is given twice")])
        return given | bound

    def validate(self, raw: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
        """The parameters (without stream inputs) checked and converted; data files are looked for if a folder is given.

        Raises:
            ParameterError: With all problems at once.
        """
        given = {name: value for name, value in raw.items() if name not in self.inputs}
        with looking_in(folder):
            try:
                return self._plain(given)
            except NotPlainError:
                from rxpipe.parameters.models import validate  # as above

                return validate(self.name, self.model, given)

    def _plain(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters, where all of them are plainly right."""
        hints: dict[str, Any] = {}
        required: list[str] = []
        for parameter in self.parameters:
            hint = self.hints.get(parameter.name)
            if hint is None:
                raise NotPlainError
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                hints |= {name: hint for name in given if name not in hints}
                continue
            hints[parameter.name] = hint
            if parameter.default is inspect.Parameter.empty:
                required.append(parameter.name)
        return plain_entries(hints, required, given)

    def apply(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Observable[Any]:
        """Call the function with its inputs (the variadic one as a list) and its checked parameters."""
        inputs = dict(inputs)
        rest = inputs.pop(self.variadic_input, []) if self.variadic_input else []
        first = [inputs.pop(name) for name in self.inputs[:1] if name in inputs]
        made: Observable[Any] = self.function(*first, *rest, **inputs, **parameters)
        return made


class Step:
    """An operator with its parameters: call it with a source, or put it into a graph.

    Args:
        operator: The operator.
        raw: The parameters as given, by name.

    Attributes:
        on_error: What it does with what it cannot handle, as given; see `rxpipe.faults.handling`.
    """

    on_error: Any = None

    def __init__(self, operator: Operator, raw: Mapping[str, Any]) -> None:
        self.operator = operator
        self.raw = dict(raw)
        self.parameters = operator.validate(self.raw)

    def __call__(self, source: Observable[Any]) -> Observable[Any]:
        """Apply the operator."""
        others = {name: self.raw[name] for name in self.operator.inputs if name in self.raw}
        return self.operator.apply({self.operator.inputs[0]: source, **others}, self.parameters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and (self.operator, self.raw) == (other.operator, other.raw)

    def __hash__(self) -> int:
        return hash(self.operator)

    def __repr__(self) -> str:
        return f"{self.operator.name}({', '.join(f'{k}={v!r}' for k, v in self.raw.items())})"


def steps_in(value: object) -> list[Step]:
    """The steps inside a step, if a parameter's value is such."""
    return value if isinstance(value, list) and all(isinstance(item, Step) for item in value) else []


class Source(Observable[Any]):
    """A source operator with its parameters: an observable, and the first step of a stream in a graph."""

    on_error: Any = None

    def __init__(self, operator: Operator, raw: Mapping[str, Any]) -> None:
        super().__init__()
        self.operator = operator
        self.raw = dict(raw)
        self.parameters = operator.validate(self.raw)

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        return self.operator.apply({}, self.parameters).subscribe(observer, scheduler=scheduler)

    def __repr__(self) -> str:
        return f"{self.operator.name}({', '.join(f'{k}={v!r}' for k, v in self.raw.items())})"


@overload
def operator(  # pyright: ignore[reportOverlappingOverload]  # a source is what has no Observable; no type can say so
    function: Callable[Concatenate[Observable[A], P], Observable[B]],
) -> Callable[P, Callable[[Observable[A]], Observable[B]]]: ...
@overload
def operator(function: Callable[P, Observable[B]]) -> Callable[P, Observable[B]]: ...
def operator(function: Callable[..., Observable[Any]]) -> Callable[..., Any]:
    """Register `function` under its name and return the form that is used: parameters first, source later.

    A function without an `Observable` parameter is a source. The parameters are checked when the returned function is
    called; its names, types, defaults and docstring are the only description of the operator there is.

    Raises:
        RxpipeError: Another operator has the same name.
    """
    made = Operator(function)
    registry.add(made)

    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Any:
        raw = made.bind(args, kwargs)
        return Source(made, raw) if made.is_source else Step(made, raw)

    vars(make)["operator"] = made
    return make


def fields_of(function: Callable[..., Any]) -> Callable[[FieldsRule], FieldsRule]:
    """Say of an operator which fields its records have: put this before a rule `(known, /, **parameters) -> known`.

    The rule is called when a graph is checked, with the `KnownFields` of the records that come and all parameters, and
    checks the expressions over them. Without a rule nothing is known of the records behind an operator, unless it
    passes on elements of any type.
    """
    made = operator_of(function)

    def declare(rule: FieldsRule) -> FieldsRule:
        made.fields = rule
        return rule

    return declare


def operator_of(function: object) -> Operator:
    """The `Operator` behind a decorated function.

    Raises:
        RxpipeError: The object is not an operator.
    """
    found = getattr(function, "operator", None)
    if not isinstance(found, Operator):
        msg = f"an operator was expected; got {function!r}"
        raise RxpipeError(msg)
    return found


def element_type(hint: Any) -> Any:
    """The `X` of an annotation `Observable[X]`, or None where the annotation is no observable."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if isinstance(hint, type) and issubclass(hint, Observable):
        return Any
    origin = typing.get_origin(hint)
    if isinstance(origin, type) and issubclass(origin, Observable):
        return typing.get_args(hint)[0]
    return None


def marked(hint: Any) -> Outputs | None:
    """What an annotation says of outputs, if it does."""
    return next((mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Outputs)), None)
