"""The formats that a network is exported in, beside its YAML, its weights and the code that needs this package."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from nas.export.code import CannotWriteError
from nas.export.errors import ExportError
from nas.export.int8_format import INT8, Quantised, write_int8
from nas.export.mmdet_format import BACKBONE, CONFIG, WEIGHTS, write_mmdet
from nas.export.network_format import NETWORK, write_network_file
from nas.export.onnx_format import ONNX, write_onnx
from nas.export.program_format import PROGRAM, write_program
from nas.export.workshop import Workshop
from search_spaces.errors import InputError, unknown

ALL = "all"


@dataclass
class Outcome:
    """What became of the formats."""

    checked: list[str] = field(default_factory=list)
    """What was compared with the trained network, in words."""
    failed: dict[str, str] = field(default_factory=dict)
    """From a format that could not be written to the reason."""
    quantised: Quantised | None = None


@dataclass(frozen=True)
class Format:
    """One format."""

    files: tuple[str, ...]
    write: Callable[[Workshop, Outcome], list[str]]
    """Writes the files, and returns what was checked."""
    says: str
    """What it is, for a reader of the export."""
    needs: str | None = None
    """The format that it is made of."""


def _int8(shop: Workshop, outcome: Outcome) -> list[str]:
    checked, outcome.quantised = write_int8(shop)
    return checked


FORMATS = {
    "network": Format(
        (NETWORK,),
        lambda shop, _: write_network_file(shop),
        "the network as code that needs torch alone; a torchvision-style builder, and `timm.create_model` finds it",
    ),
    "program": Format(
        (PROGRAM,),
        lambda shop, _: write_program(shop),
        f'a torch.export program: `torch.export.load("{PROGRAM}").module()(images)`, any batch size',
    ),
    "onnx": Format((ONNX,), lambda shop, _: write_onnx(shop), "ONNX, any batch size: `images` in, `logits` out"),
    "int8": Format(
        (INT8,), _int8, "the same with 8-bit weights and activations (QDQ), for onnxruntime and others", needs="onnx"
    ),
    "mmdet": Format(
        (BACKBONE, CONFIG, WEIGHTS),
        lambda shop, _: write_mmdet(shop),
        "a backbone for mmdet: the module, what a config takes over, and its weights",
        needs="network",
    ),
}


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """Return the formats that are asked for, those before that they are made of.

    Raises:
        InputError: an unknown name.
    """
    for name in names:
        if name not in (*FORMATS, ALL):
            raise unknown("format", name, [*FORMATS, ALL])
    wanted = set(FORMATS) if ALL in names else set(names)
    wanted |= {needed for name in wanted if (needed := FORMATS[name].needs)}
    return tuple(name for name in FORMATS if name in wanted)


def write_formats(shop: Workshop, names: Iterable[str]) -> Outcome:
    """Write formats, each checked; of one that fails no file stays, and the others are written all the same."""
    outcome = Outcome()
    for name in names:
        each = FORMATS[name]
        if each.needs in outcome.failed:
            outcome.failed[name] = f"it is made of {each.needs}, which could not be written"
            continue
        try:
            outcome.checked += each.write(shop, outcome)
        except (InputError, ExportError, CannotWriteError) as error:
            outcome.failed[name] = str(error)
        except Exception as error:  # exporters refuse by whatever fails in them; the reason becomes part of the export
            outcome.failed[name] = f"{type(error).__name__}: {_first_line(error)}"
        if name in outcome.failed:
            for file in each.files:
                (shop.folder / file).unlink(missing_ok=True)
    return outcome


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")
