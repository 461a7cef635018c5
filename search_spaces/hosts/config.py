"""What names a host: a network, its classes and the images it reads."""

from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from search_spaces.config import Config
from search_spaces.errors import InputError
from search_spaces.hosts.registry import host_entry, host_names

Head = Literal["classify", "segment", "fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet", "fcos"]

DETECTORS: tuple[Head, ...] = ("fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet", "fcos")
"""Heads whose network is one of torchvision's detectors, of which backbone and pyramid are traced."""

_LATER_KEYS = ("width", "neck", "head")
"""Left out where they have their defaults, so that the identities of before they existed stay."""


def _list_names(schema: dict[str, Any]) -> None:
    schema["enum"] = list(host_names())


class HostConfig(Config):
    """A host with its defaults filled in."""

    name: str = Field(json_schema_extra=_list_names)
    """The network, one of `nas hosts`."""
    classes: int = Field(1000, ge=1, le=1_000_000)
    """Outputs of the classifier. The host's own number if not given: 1000, CIFAR hosts 10."""
    input: int = Field(224, ge=1, le=10_000)
    """Height and width of the images in pixels. The host's own if not given: 224, CIFAR hosts 32."""
    channels: int = Field(3, ge=1, le=10_000)
    """Channels of the images: 3 for colour, 1 for grey."""
    stem: Literal["imagenet", "cifar"] = "imagenet"
    """`cifar`: the first convolution is 3x3 with stride 1, and no max-pooling follows it. CIFAR hosts have no
    other."""
    pretrained: bool = False
    """Start from the ImageNet weights that torchvision publishes for this host."""
    width: float = Field(1.0, gt=0, le=100)
    """Multiplies the channels of every stage; not all hosts have widths other than 1."""
    neck: Literal["fpn"] | None = None
    """`fpn`: a feature pyramid over the stages, with the sites `fpn/lateral<i>`, `fpn/output<i>`, `fpn/merge<i>`."""
    head: Head = "classify"
    """What reads the pyramid (or, for `classify` without a neck, the host's own features)."""

    @property
    def bare(self) -> "HostConfig":
        """The host without neck and head."""
        return self.model_copy(update={"neck": None, "head": "classify"})

    @property
    def traced_part(self) -> str:
        """The path of the module in which the sites are; empty for the whole network."""
        return "backbone" if self.head in DETECTORS else ""

    @property
    def prefix(self) -> str:
        """What the paths of the host's own modules begin with in the traced part."""
        return "body." if self.neck else ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, canonical: defaults filled in."""
        written = self.model_dump()
        defaults = type(self).model_fields
        return {
            key: value for key, value in written.items() if key not in _LATER_KEYS or value != defaults[key].default
        }

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("name") not in host_names():
            return data
        entry = host_entry(data["name"])
        return {"classes": entry.classes, "input": entry.input, "stem": entry.stems[0]} | data

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return host_entry(name).name

    @field_validator("stem")
    @classmethod
    def _stem_is_possible(cls, stem: str, before: ValidationInfo) -> str:
        if (name := before.data.get("name")) and stem not in host_entry(name).stems:
            raise InputError(f"{name} has no {stem} stem; allowed: {', '.join(host_entry(name).stems)}")
        return stem

    @field_validator("pretrained")
    @classmethod
    def _weights_are_published(cls, pretrained: bool, before: ValidationInfo) -> bool:
        host = before.data
        if pretrained and "name" in host and not host_entry(host["name"]).has_weights:
            raise InputError(f"no pretrained weights are published for {host['name']}")
        if pretrained and (host.get("stem", "imagenet"), host.get("channels", 3)) != ("imagenet", 3):
            raise InputError("pretrained weights are for `stem: imagenet` and `channels: 3`")
        return pretrained

    @model_validator(mode="after")
    def _head_has_its_neck(self) -> Self:
        if self.head != "classify" and self.neck is None:
            raise InputError(f"head: {self.head} reads a pyramid; add neck: fpn")
        return self
