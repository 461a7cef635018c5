"""Reading JSON that we have written, thousands of records at a time."""

import json
from typing import Any

import orjson


def parsed(text: bytes | str) -> Any:
    """Return what `json.loads` returns, faster where the text is strict JSON (`benchmarks/storages.py`).

    Python writes NaN and infinities, which JSON does not know: such a text is read by Python's own parser. Integers
    beyond 64 bits come back as floats; no record holds one.

    Raises:
        ValueError: It is not even JSON as Python writes it.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)
