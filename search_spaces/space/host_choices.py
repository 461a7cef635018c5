"""Several hosts to choose from, as a space writes them: `host: {name: [resnet20, resnet56], width: [0.5, 1.0]}`."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from search_spaces.hosts import HostConfig, host_entry

LISTABLE = ("name", "stem", "width", "neck")
"""The keys that may list values. The others say which images a host reads and what it is to answer, or what it has
seen before: one comparison of placements needs one of each."""

_MOST_NAMED = 4
_SAME = ("classes", "input", "channels", "head")
"""What must not differ by the hosts' defaults either."""


def host_label(host: HostConfig) -> str:
    """Return what a reader calls a host: `resnet56`, `resnet20 width=0.5`, `resnet18 stem=cifar neck=fpn`."""
    usual = {"stem": host_entry(host.name).stems[0], "width": 1.0, "neck": None}
    return " ".join([host.name, *(f"{k}={getattr(host, k)}" for k, v in usual.items() if getattr(host, k) != v)])


def hosts_in_words(hosts: Sequence[HostConfig]) -> str:
    """Return `resnet20, resnet56`, or of many `12 hosts`."""
    return ", ".join(map(host_label, hosts)) if len(hosts) <= _MOST_NAMED else f"{len(hosts)} hosts"


@dataclass(frozen=True)
class HostChoices:
    """Every combination of the values that a host's keys list."""

    configs: tuple[HostConfig, ...]
    listed: tuple[str, ...]
    """The keys with several values."""

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """Return the hosts of a dictionary in which keys list values.

        Raises:
            ValidationError: a list where one value must be, a list without values or with one twice, a mistake in
                one of the hosts, hosts that would read different images.
        """
        lists = {key: value for key, value in given.items() if isinstance(value, list)}
        _refuse([_wrong((key,), message, values) for key, values in lists.items() if (message := _why(key, values))])
        keys = [key for key in LISTABLE if key in lists]
        chosen = itertools.product(*(range(len(lists[key])) for key in keys))
        configs = tuple(_one(given, dict(zip(keys, numbers, strict=True))) for numbers in chosen)
        _refuse_other_images(configs, given)
        if twice := [host_label(config) for i, config in enumerate(configs) if config in configs[:i]]:
            _refuse([_wrong((), f"lists one host twice: {twice[0]}", given)])
        return cls(configs, tuple(key for key in keys if len(lists[key]) > 1))

    def to_dict(self) -> dict[str, Any]:
        """Return them as plain data that reads back as the same hosts; what only defaults differ in is left out."""
        written = [config.to_dict() for config in self.configs]
        found = {key: [each.get(key) for each in written] for key in HostConfig.model_fields if key in written[0]}
        same = {key: values[0] for key, values in found.items() if all(value == values[0] for value in values)}
        same |= {key: list(dict.fromkeys(getattr(config, key) for config in self.configs)) for key in self.listed}
        return {key: same[key] for key in HostConfig.model_fields if key in same}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.of, serialization=core_schema.plain_serializer_function_ser_schema(cls.to_dict)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        one = handler.resolve_ref_schema(handler(HostConfig.__pydantic_core_schema__))
        properties = {
            key: _listed_schema(value) if key in LISTABLE else value for key, value in one["properties"].items()
        }
        description = "Several hosts: every combination of the values that are listed."
        return {**one, "title": "HostChoices", "description": description, "properties": properties}


def _listed_schema(schema: dict[str, Any]) -> dict[str, Any]:
    outer = {key: value for key, value in schema.items() if key in ("description", "title", "default")}
    value = {key: part for key, part in schema.items() if key not in outer}
    return {**outer, "anyOf": [value, {"type": "array", "items": value, "minItems": 1, "uniqueItems": True}]}


def _why(key: str, values: list[Any]) -> str | None:
    """Return why a key must not list these values."""
    if key not in HostConfig.model_fields:
        return None  # said below, with the keys there are
    if key not in LISTABLE:
        return f"must be one value for all hosts, got {values!r}; lists are for {', '.join(LISTABLE)}"
    if not values or any(values.count(value) > 1 for value in values):
        return f"must list values, each once, got {values!r}"
    return None


def _one(given: dict[str, Any], chosen: dict[str, int]) -> HostConfig:
    """Return one host; its errors lead to the element of the list that is at fault."""
    try:
        return HostConfig.model_validate(given | {key: given[key][number] for key, number in chosen.items()})
    except ValidationError as error:
        found = []
        for item in error.errors():
            key, *rest = item["loc"] or ("",)
            loc = (key, chosen[str(key)], *rest) if key in chosen else item["loc"]
            found.append(InitErrorDetails(type=item["type"], loc=loc, input=item["input"], ctx=item.get("ctx", {})))
        raise ValidationError.from_exception_data("host", found) from None


def _refuse_other_images(configs: Sequence[HostConfig], given: dict[str, Any]) -> None:
    for key in _SAME:
        values = {getattr(config, key): host_label(config) for config in reversed(configs)}
        if len(values) > 1:
            found = ", ".join(f"{value} ({label})" for value, label in sorted(values.items()))
            _refuse([_wrong((), f"the hosts have different defaults for {key}: {found}; give `{key}`", given)])


def _wrong(loc: tuple[str, ...], message: str, value: Any) -> InitErrorDetails:
    # The message is no template of pydantic's.
    return InitErrorDetails(type=PydanticCustomError("value_error", "{what}", {"what": message}), loc=loc, input=value)


def _refuse(mistakes: list[InitErrorDetails]) -> None:
    if mistakes:
        raise ValidationError.from_exception_data("host", mistakes)
