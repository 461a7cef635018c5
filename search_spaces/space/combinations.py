"""What a choice may place: each module with every combination of its knobs' values, checked at every site."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from search_spaces.attention import entry
from search_spaces.errors import InputError
from search_spaces.fitting import NONE, ModuleSpec, check_fit, make_spec, what_is_built
from search_spaces.hosts import HostConfig
from search_spaces.sites.site_type import Site
from search_spaces.space.space_config import ChoiceConfig
from search_spaces.yaml_files import Document

Shared = Literal["stage", "host"]
SHARE = "share"

Setting = tuple[str, tuple[tuple[str, Any], ...]]
"""A module with its varied knobs."""
Combination = tuple[ModuleSpec | None, tuple[tuple[str, Any], ...]]


@dataclass(frozen=True)
class Selection:
    """The sites of one host that a choice selects."""

    host: HostConfig
    sites: tuple[Site, ...]
    where: str
    """What a message begins with: nothing in a space over one host, else `on resnet56: `."""


def make_combinations(
    selections: Sequence[Selection], choice: ChoiceConfig, document: Document
) -> dict[str, list[Combination]]:
    """Return per module every combination of its knobs' values.

    Raises:
        InputError: an unknown module or knob, one that does not fit a selected site of some host, a value without
            effect.
    """
    result: dict[str, list[Combination]] = {}
    for module, written in choice.modules.items():
        given = written or {}
        try:
            result[module] = _combinations_of(module, given)
            for spec, _ in result[module]:
                _check_fits(selections, spec, given)
        except InputError as error:
            keys = error.keys if error.keys != ("module",) else ()
            raise document.error(("modules", module, *keys), str(error)) from None
        _refuse_knobs_without_effect(module, given, result[module], selections, document)
    return result


def what_all_build(sites: Sequence[Site], spec: ModuleSpec | None) -> Any:
    """Return what a spec builds at these sites, comparable."""
    return tuple(what_is_built(site, spec) for site in sites) if spec else ()


def _check_fits(selections: Sequence[Selection], spec: ModuleSpec | None, given: dict[str, Any]) -> None:
    for selection, site in _all_sites(selections) if spec else ():
        assert spec
        try:
            check_fit(selection.host, site, [spec])
        except InputError as error:
            keys = error.keys[1:]
            if keys and isinstance(given.get(str(keys[0])), list):
                keys += (given[str(keys[0])].index(spec.knobs[str(keys[0])]),)
            raise InputError(f"{selection.where}{error}", keys) from None


def _all_sites(selections: Sequence[Selection]) -> Iterator[tuple[Selection, Site]]:
    return ((selection, site) for selection in selections for site in selection.sites)


def _combinations_of(module: str, given: dict[str, Any]) -> list[Combination]:
    if module == NONE:
        if given:
            raise InputError(f"the module {NONE} has no knobs, got {', '.join(map(str, given))}")
        return [(None, ())]
    if (shared_by := given.get(SHARE)) is not None and shared_by not in get_args(Shared):
        raise InputError(f"in a space it is {' or '.join(get_args(Shared))}, got {shared_by!r}", (SHARE,))
    values_of = _values_of(module, {knob: values for knob, values in given.items() if knob != SHARE})
    varied = [knob for knob, values in values_of.items() if len(values) > 1]
    result: list[Combination] = []
    for combination in itertools.product(*values_of.values()):
        setting = dict(zip(values_of, combination, strict=True))
        spec = make_spec({"module": module, **setting})
        result.append((spec, tuple((knob, setting[knob]) for knob in varied)))
    if shared_by and entry(module).kind == "weights":
        raise InputError(f"{module} keeps the weights of its own convolution and cannot be shared", (SHARE,))
    return result


def _values_of(module: str, given: dict[str, Any]) -> dict[str, list[Any]]:
    """Return each knob's values, each of them allowed."""
    for knob, values in given.items():
        if isinstance(values, list) and (not values or any(values.count(value) > 1 for value in values)):
            raise InputError(f"must list values, each once, got {values!r}", (knob,))
    values_of = {knob: values if isinstance(values, list) else [values] for knob, values in given.items()}
    for knob, values in values_of.items():
        for number, value in enumerate(values):
            _check_knob(module, knob, value, (knob, number) if isinstance(given[knob], list) else (knob,))
    return values_of


def _check_knob(module: str, knob: str, value: Any, keys: tuple[str | int, ...]) -> None:
    try:
        make_spec({"module": module, knob: value})
    except InputError as error:
        raise InputError(str(error), error.keys if error.keys == ("module",) else keys) from None


def _refuse_knobs_without_effect(
    module: str,
    given: dict[str, Any],
    combinations: Sequence[Combination],
    selections: Sequence[Selection],
    document: Document,
) -> None:
    """Refuse a value that builds, at every site of every host and under all other knobs, what another value builds."""
    sites = [site for _, site in _all_sites(selections)]
    for knob, values in given.items():
        if not isinstance(values, list) or len(values) < 2:
            continue
        built: list[tuple[Any, list[Any]]] = []
        for number, value in enumerate(values):
            all_built = [what_all_build(sites, spec) for spec, varied in combinations if dict(varied)[knob] == value]
            for other, other_built in built:
                if all_built == other_built:
                    raise document.error(
                        ("modules", module, knob, number),
                        f"{knob} {value!r} has no effect: at every site it builds what {other!r} builds",
                    )
            built.append((value, all_built))
