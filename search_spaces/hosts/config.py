"""What names a host: a network, its classes and the images it reads."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from search_spaces.config import Config
from search_spaces.hosts.registry import host_entry, host_names


class HostConfig(Config):
    """A host with its defaults filled in."""

    name: str = Field(json_schema_extra=lambda schema: schema.update(enum=host_names()))
    """The network, one of `nas hosts`."""
    classes: int = Field(1000, ge=1)
    """Outputs of the classifier. The host's own number if not given: 1000, CIFAR hosts 10."""
    input: int = Field(224, ge=1)
    """Height and width of the images in pixels. The host's own if not given: 224, CIFAR hosts 32."""
    channels: int = Field(3, ge=1)
    """Channels of the images: 3 for colour, 1 for grey."""
    stem: Literal["imagenet", "cifar"] = "imagenet"
    """`cifar`: the first convolution is 3x3 with stride 1 and no max-pooling follows it. CIFAR hosts have no other."""
    pretrained: bool = False
    """Start from the ImageNet weights that torchvision publishes for this host."""

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

    @model_validator(mode="after")
    def _is_possible(self) -> "HostConfig":
        entry = host_entry(self.name)
        if self.stem not in entry.stems:
            raise ValueError(f"{self.name} has no {self.stem} stem; allowed: {', '.join(entry.stems)}")
        if self.pretrained and not entry.has_weights:
            raise ValueError(f"no pretrained weights are published for {self.name}")
        if self.pretrained and (self.stem != "imagenet" or self.channels != 3):
            raise ValueError("pretrained weights are for `stem: imagenet` and `channels: 3`")
        return self
