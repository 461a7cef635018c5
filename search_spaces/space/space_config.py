"""A space as a file writes it."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from search_spaces.config import Config
from search_spaces.hosts import HostConfig
from search_spaces.space.host_choices import HostChoices
from search_spaces.space.limits import LimitsConfig


class ChoiceConfig(Config):
    """What may go to the sites of one selector."""

    at: str
    """A glob over site names, for example `*/branch` or `layer3.*/out`."""
    per: Literal["site", "block", "stage", "host"] = "site"
    """One decision for each site, or one for all selected sites of a block, a stage, the host."""
    modules: dict[str, dict[str, Any] | None] = Field(min_length=1)
    """From a module's name to its knobs, each with one value or a list; `none: {}` allows the site to stay empty."""


def _how_many(host: Any) -> str:
    if isinstance(host, HostChoices):
        return "several"
    return "several" if isinstance(host, dict) and any(isinstance(value, list) for value in host.values()) else "one"


class SpaceConfig(Config):
    """A host, choices over its sites, and limits."""

    description: str = ""
    """Free text for the reader."""
    host: Annotated[
        Annotated[HostConfig, Tag("one")] | Annotated[HostChoices, Tag("several")], Discriminator(_how_many)
    ]
    """The network that attention is placed into; `name`, `width`, `stem` and `neck` may list values: then the host is
    a choice too."""
    choices: list[ChoiceConfig] = Field(min_length=1)
    """What may go where; no site may be selected twice."""
    limits: LimitsConfig = LimitsConfig()
    """What breaks a limit is never trained."""

    @property
    def hosts(self) -> tuple[HostConfig, ...]:
        """The hosts to choose from."""
        return (self.host,) if isinstance(self.host, HostConfig) else self.host.configs

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, canonical: defaults filled in."""
        return self.model_dump() | {"host": self.host.to_dict()}

    @field_validator("limits", mode="before")
    @classmethod
    def _none_is_no_limit(cls, value: Any) -> Any:
        return {} if value is None else value
