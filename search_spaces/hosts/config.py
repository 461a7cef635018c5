"""What names a host: a network, its classes and the images it reads."""

from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from search_spaces.config import Config
from search_spaces.errors import InputError
from search_spaces.hosts.registry import host_entry, host_names
from search_spaces.hosts.timm_hosts import PREFIX
from search_spaces.hosts.widths import check_width

Head = Literal["classify", "segment", "fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet", "fcos"]

DETECTORS: tuple[Head, ...] = ("fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet", "fcos")
"""Heads whose network is one of torchvision's detectors, of which backbone and pyramid are traced."""

SHORTHANDS: dict[str, Head] = {f"{head}_resnet50_fpn": head for head in DETECTORS}
"""torchvision's names of whole detectors, which stand for `{name: resnet50, neck: fpn, head: ...}`."""

_LATER_KEYS = ("width", "neck", "head")
"""Left out where they have their defaults, so that the identities of before they existed stay."""


def _list_names(schema: dict[str, Any]) -> None:
    # timm's own are not listed: which there are depends on the release, and on whether there is one.
    schema["anyOf"] = [{"enum": [*host_names(), *SHORTHANDS]}, {"pattern": f"^{PREFIX}."}]


class HostConfig(Config):
    """A host with its defaults filled in."""

    name: str = Field(json_schema_extra=_list_names)
    """The network, one of `nas hosts`, or `timm/<name>` for one of timm's."""
    classes: int = Field(1000, ge=1, le=1_000_000)
    """Outputs of the classifier. The host's own number if not given: 1000, CIFAR hosts 10. Under `segment` 21 if not
    given; under a detector 91 (`keypointrcnn` 2), as in torchvision with the background, which is class 0."""
    input: int = Field(224, ge=1, le=10_000)
    """Height and width of the images in pixels. The host's own if not given: mostly 224, CIFAR hosts 32. Under a
    detector the length to which the shorter side is brought, 800 if not given."""
    channels: int = Field(3, ge=1, le=10_000)
    """Channels of the images: 3 for colour, 1 for grey."""
    stem: Literal["imagenet", "cifar"] = "imagenet"
    """`cifar`: the first convolution is 3x3 with stride 1, and no max-pooling follows the stem. CIFAR hosts have no
    other; hosts whose first convolution keeps the resolution (VGG) do not have it."""
    pretrained: bool = False
    """Start from the weights that torchvision or timm publishes for this host."""
    width: float = Field(1.0, gt=0, le=100)
    """Multiplies the channels of every stage; not all hosts have widths other than 1. Residual networks take the
    widths that give whole channels, MobileNets and EfficientNets round as their papers do."""
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

    @property
    def in_words(self) -> str:
        """What it is, in a line."""
        parts = [
            f"{self.classes} classes",
            f"images {self.channels}x{self.input}x{self.input}",
            f"{self.stem} stem",
            *(["pretrained"] if self.pretrained else []),
            *([f"width {self.width:g}"] if self.width != 1 else []),
            *([f"neck {self.neck}"] if self.neck else []),
            *([f"head {self.head}"] if self.head != "classify" else []),
        ]
        return f"{self.name}: {', '.join(parts)}"

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
        data = _written_out(data)
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            return data
        try:
            entry = host_entry(data["name"])
        except InputError:
            return data  # said below, at the key
        filled = {"classes": entry.classes, "input": entry.input, "stem": entry.stems[0]}
        return filled | _defaults_under(data.get("head")) | data

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return host_entry(name).name

    @field_validator("stem")
    @classmethod
    def _stem_is_possible(cls, stem: str, before: ValidationInfo) -> str:
        if (name := before.data.get("name")) and stem not in host_entry(name).stems:
            raise InputError(f"{name} has no {stem} stem; allowed: {', '.join(host_entry(name).stems)}")
        if name and stem == "cifar" and (why_not := host_entry(name).why_no_cifar_stem) and (reason := why_not()):
            raise InputError(f"{name} has no cifar stem: {reason}; allowed: imagenet")
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

    @field_validator("width")
    @classmethod
    def _width_is_possible(cls, width: float, before: ValidationInfo) -> float:
        if "name" in before.data:
            check_width(host_entry(before.data["name"]), width, map(host_entry, host_names()))
        if width != 1 and before.data.get("pretrained"):
            raise InputError("pretrained weights are for `width: 1`")
        return width

    @model_validator(mode="after")
    def _names_weights_to_load(self) -> Self:
        name, _, tag = self.name.partition(".")
        if tag and not self.pretrained:
            raise InputError(f"name: {self.name} names weights; write {name}, or add pretrained: true")
        return self

    @model_validator(mode="after")
    def _head_has_its_neck(self) -> Self:
        if self.head != "classify" and self.neck is None:
            raise InputError(f"head: {self.head} reads a pyramid; add neck: fpn")
        return self

    @model_validator(mode="after")
    def _detects_something(self) -> Self:
        if self.head in DETECTORS and self.classes < 2:
            raise InputError(f"classes of {self.head} count the background: 2 or more, got {self.classes}")
        return self


def _written_out(data: Any) -> Any:
    """Return a host given by a detector's name as host, neck and head."""
    if not isinstance(data, dict) or data.get("name") not in list(SHORTHANDS):
        return data
    meant = {"name": "resnet50", "neck": "fpn", "head": SHORTHANDS[data["name"]]}
    for key in ("neck", "head"):
        if data.get(key, meant[key]) != meant[key]:
            raise InputError(f"{data['name']} has {key}: {meant[key]}, got {key}: {data[key]}; leave the key out")
    return data | meant


def _defaults_under(head: Any) -> dict[str, int]:
    """Return the defaults that a head brings; as in torchvision."""
    if head in list(DETECTORS):
        return {"classes": 2 if head == "keypointrcnn" else 91, "input": 800}
    return {"classes": 21} if head == "segment" else {}
