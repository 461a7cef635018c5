"""What every piece of configuration is: validated, frozen, with a description under each field."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen, strictly typed set of settings that refuses unknown keys.

    The YAML edge (`search_spaces.yaml_files`) turns its validation errors into messages that name file,
    line and key; the same types print the JSON Schema that editors complete from (`nas schema`).
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
