"""Settings of a run: defaults, the graph's `settings:`, `.env`, `RXPIPE_*` variables, the command line; later wins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from rxpipe.errors import GraphError, Problem, did_you_mean, nearest
from rxpipe.units import Duration, Size

PREFIX = "RXPIPE_"

ENV_FILE = ".env"

Level = Annotated[
    Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]


class Settings(BaseModel):
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

    model_config = ConfigDict(extra="forbid", strict=False)

    in_flight: Annotated[Size, Gt(0)] = "64MB"
    checkpoint: Annotated[Duration, Gt(0)] = "1s"
    drain_timeout: Duration = "1.5s"
    state: str | None = None
    metrics: str | int | None = None
    log_level: Level = "INFO"
    log_format: Literal["text", "json"] = "text"


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
    found = [_unknown(name, origin) for name, (_, origin) in merged.items() if name not in Settings.model_fields]
    known = {name: value for name, (value, _) in merged.items() if name in Settings.model_fields}
    made: Settings | None = None
    try:
        made = Settings.model_validate(known)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0])
            cause = detail.get("ctx", {}).get("error")
            message = (
                str(cause)
                if cause is not None
                else f"{detail['msg'][0].lower()}{detail['msg'][1:]}; got {detail['input']!r}"
            )
            problem = Problem(f"settings: {name}: {message} ({merged[name][1]})")
            if problem not in found:  # a union names each of its members
                found.append(problem)
    if made is None or found:
        raise GraphError(found)
    return made


def _unknown(name: str, origin: str) -> Problem:
    guess = nearest(name, Settings.model_fields)
    tail = did_you_mean(guess) if guess else f"; there are {', '.join(map(repr, Settings.model_fields))}"
    return Problem(f"settings: unknown setting {name!r} ({origin}){tail}")


def _from_environment() -> dict[str, tuple[Any, str]]:
    """What `.env` and `RXPIPE_*` set, with where each comes from.

    A variable with the prefix and another name may be anybody's; it counts as a misspelt setting only where it is near
    one.
    pydantic-settings takes 60 ms to import, so this is called only where there is something to read.
    """
    from pydantic_settings import (  # noqa: PLC0415  # see the docstring
        BaseSettings,
        DotEnvSettingsSource,
        EnvSettingsSource,
        SettingsConfigDict,
    )

    class EnvironmentSettings(Settings, BaseSettings):
        model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore", strict=False)

    made: dict[str, tuple[Any, str]] = {}
    for source in (DotEnvSettingsSource(EnvironmentSettings), EnvSettingsSource(EnvironmentSettings)):
        where = f" in {ENV_FILE}" if isinstance(source, DotEnvSettingsSource) else ""
        values = source()
        for variable in source.env_vars:
            if not variable.upper().startswith(PREFIX):
                continue
            name = variable[len(PREFIX) :].lower()
            if name in values or nearest(name, Settings.model_fields):
                made[name] = (values.get(name), f"{variable.upper()}{where}")
    return made
