"""Settings of a run: defaults, the graph's `settings:`, `.env`, `RXPIPE_*` variables, the command line; later wins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from rxpipe.errors import GraphError, Problem, did_you_mean, nearest
from rxpipe.parameters.plain import NotPlainError, Reading, plain
from rxpipe.parameters.types import KNOWN_NAMES_ONLY, Gt
from rxpipe.parameters.units import Duration, Size

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

PREFIX = "RXPIPE_"

ENV_FILE = ".env"


class _AnyCase(Reading):
    """A text that is taken in any case, and arrives in capitals."""

    def read(self, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema  # settings that are plainly right need no pydantic

        return core_schema.no_info_before_validator_function(self.read, handler(source))


Level = Annotated[Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"], _AnyCase()]


@dataclass(frozen=True)
class Settings:
    """Settings of a run.

    Attributes:
        in_flight: Data read but not yet done with, above which sources wait.
        checkpoint: Time between checkpoints.
        drain_timeout: How long a drain may take after Ctrl-C before the run is stopped.
        state: The state file; the default is in the user's state directory, see `rxpipe.runtime.statepath`.
        metrics: Address to expose Prometheus metrics on, as `:9464` or `127.0.0.1:9464`.
        log_level: Least level of the log.
        log_format: Log lines for people or as JSON.
    """

    __pydantic_config__ = KNOWN_NAMES_ONLY

    in_flight: Annotated[Size, Gt(0)] = "64MB"
    checkpoint: Annotated[Duration, Gt(0)] = "1s"
    drain_timeout: Duration = "1.5s"
    state: str | None = None
    metrics: str | int | None = None
    log_level: Level = "INFO"
    log_format: Literal["text", "json"] = "text"


NAMES = tuple(field.name for field in fields(Settings))


def checked(values: Mapping[str, Any]) -> tuple[Settings, list[tuple[tuple[str | int, ...], str]]]:
    """The settings, and what is wrong with `values`: the path inside and what must be; then they are the defaults."""
    try:
        return plain(Settings, dict(values)), []
    except NotPlainError:
        from pydantic import TypeAdapter, ValidationError  # needed only here

        from rxpipe.parameters.models import must_be  # likewise

    try:
        return TypeAdapter(Settings).validate_python(values), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    problems = []
    for detail in details:
        cause = detail.get("ctx", {}).get("error")
        message = f"{must_be(detail['msg'])}; got {detail['input']!r}"
        problems.append((detail["loc"], message if cause is None else str(cause)))
    return Settings(), problems


def load_settings(graph: Mapping[str, Any], given: Mapping[str, Any]) -> Settings:
    """The settings of one run.

    Args:
        graph: The graph's `settings:`, variables replaced.
        given: Those of the command line or of the call; None counts as not given.

    Raises:
        GraphError: With every setting that does not exist or has a wrong value, and where it comes from.
    """
    merged: dict[str, tuple[Any, str]] = {name: (value, "the graph's settings") for name, value in graph.items()}
    if Path(ENV_FILE).is_file() or any(name.upper().startswith(PREFIX) for name in os.environ):
        merged |= _from_environment()
    merged |= {name: (value, "given to the run") for name, value in given.items() if value is not None}
    found = [_unknown(name, origin) for name, (_, origin) in merged.items() if name not in NAMES]
    known = {name: value for name, (value, _) in merged.items() if name in NAMES}
    made, problems = checked(known)
    for path, message in problems:
        problem = Problem(f"settings: {path[0]}: {message} ({merged[str(path[0])][1]})")
        if problem not in found:  # a union names each of its members
            found.append(problem)
    if found:
        raise GraphError(found)
    return made


def _unknown(name: str, origin: str) -> Problem:
    guess = nearest(name, NAMES)
    tail = did_you_mean(guess) if guess else f"; there are {', '.join(map(repr, NAMES))}"
    return Problem(f"settings: unknown setting {name!r} ({origin}){tail}")


def _from_environment() -> dict[str, tuple[Any, str]]:
    """What `.env` and `RXPIPE_*` set, with where each comes from.

    A variable with the prefix and another name may be anybody's; it counts as a misspelt setting only where it is near
    one.
    pydantic-settings takes 60 ms to import, so this is called only where there is something to read.
    """
    from pydantic_settings import (  # see the docstring
        BaseSettings,
        DotEnvSettingsSource,
        EnvSettingsSource,
        SettingsConfigDict,
    )

    class EnvironmentSettings(BaseSettings):
        model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore", strict=False)
        __annotations__ = get_type_hints(Settings, include_extras=True)

    made: dict[str, tuple[Any, str]] = {}
    for source in (DotEnvSettingsSource(EnvironmentSettings), EnvSettingsSource(EnvironmentSettings)):
        where = f" in {ENV_FILE}" if isinstance(source, DotEnvSettingsSource) else ""
        values = source()
        for variable in source.env_vars:
            if not variable.upper().startswith(PREFIX):
                continue
            name = variable[len(PREFIX) :].lower()
            if name in values or nearest(name, NAMES):
                made[name] = (values.get(name), f"{variable.upper()}{where}")
    return made
