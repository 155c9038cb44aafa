"""Settings of a run: defaults, the graph's `settings:`, `.env`, `RXPIPE_*` in the environment, the command line; later wins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rxpipe.units import Duration, Size


class Settings(BaseModel):
    """Settings of a run.

    Attributes:
        in_flight: Data read but not yet done with, above which sources wait.
        checkpoint: Time between checkpoints.
        drain_timeout: How long a drain may take after Ctrl-C before the run is stopped.
        state: The state file; the default is `<graph>.sqlite` in the user's state directory.
        metrics: Address to expose Prometheus metrics on, as `:9464` or `127.0.0.1:9464`.
        log_level: Least level of the log.
        log_format: Log lines for people or as JSON.
    """

    model_config = ConfigDict(extra="forbid", strict=False)

    in_flight: Size = "64MB"
    checkpoint: Duration = "1s"
    drain_timeout: Duration = "1.5s"
    state: str | None = None
    metrics: str | None = None
    log_level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"



def load_settings(graph: Mapping[str, Any], given: Mapping[str, Any]) -> Settings:
    """The settings of one run.

    Args:
        graph: The graph's `settings:`.
        given: Those of the command line or of the call; None counts as not given.

    Raises:
        pydantic.ValidationError: A setting that does not exist, or has a wrong value.
    """
    environment: Mapping[str, Any] = {}
    if any(name.upper().startswith("RXPIPE_") for name in os.environ) or Path(".env").is_file():
        environment = _from_environment()
    return Settings.model_validate({**graph, **environment, **{k: v for k, v in given.items() if v is not None}})


def _from_environment() -> dict[str, Any]:
    """What `RXPIPE_*` and `.env` set; pydantic-settings takes 60 ms to import, so only where there is something to read."""
    from pydantic_settings import BaseSettings, SettingsConfigDict  # noqa: PLC0415  # see the docstring

    class EnvironmentSettings(Settings, BaseSettings):  # type: ignore[misc]  # two models of pydantic, both configured here
        model_config = SettingsConfigDict(env_prefix="RXPIPE_", env_file=".env", extra="ignore", strict=False)

    return EnvironmentSettings().model_dump(exclude_unset=True)
