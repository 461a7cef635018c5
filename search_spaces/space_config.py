"""A space as a file writes it."""

from typing import Any, Literal

from pydantic import Field, field_validator

from search_spaces.config import Config
from search_spaces.hosts import HostConfig
from search_spaces.limits import LimitsConfig


class ChoiceConfig(Config):
    """What may go to the sites of one selector."""

    at: str
    """A glob over site names, for example `*/branch` or `layer3.*/out`."""
    per: Literal["site", "block", "stage", "host"] = "site"
    """One decision for each site, or one for all selected sites of a block, a stage, the host."""
    modules: dict[str, dict[str, Any] | None] = Field(min_length=1)
    """From a module's name to its knobs, each with one value or a list; `none: {}` allows the site to stay empty."""


class SpaceConfig(Config):
    """A host, choices over its sites, and limits."""

    description: str = ""
    """Free text for the reader."""
    host: HostConfig
    """The network that attention is placed into."""
    choices: list[ChoiceConfig] = Field(min_length=1)
    """What may go where; no site may be selected twice."""
    limits: LimitsConfig = LimitsConfig()
    """What breaks a limit is never trained."""

    @field_validator("limits", mode="before")
    @classmethod
    def _none_is_no_limit(cls, value: Any) -> Any:
        return {} if value is None else value
