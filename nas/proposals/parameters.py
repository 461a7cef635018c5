"""A space's decisions as Optuna parameters, in the two forms that samplers and readers want.

`ByKnob` is what studies record: `<decision>` over module names and, where a module's knob has more than one
value, `<decision>.<module>.<knob>` over its values, so that importances and dashboards speak of modules and
knobs. Where the host is a choice, `host` is a parameter over its labels. A decision that does not exist in the chosen
host is not recorded; what a parameter's values are is the same in every trial.

`ByOption` has one parameter per decision, over the numbers of its options: a genetic algorithm that works on
it passes a module on to a child together with its knobs, instead of drawing the knobs anew. There a decision that does
not exist in the chosen host is a silent gene: it changes nothing, and is inherited by children that may have another
host.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from search_spaces import SearchSpace

Values = tuple[dict[str, Any], dict[str, BaseDistribution]]


@dataclass(frozen=True)
class Draw:
    """One proposal: option indices, the parameters the study records, and what the sampler wants kept."""

    indices: tuple[int, ...]
    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    system_attrs: Mapping[str, Any] = field(default_factory=dict)


class Encoding(Protocol):
    """One way of writing a space's architectures (option indices, one per decision) as parameters."""

    def encode(self, indices: Sequence[int]) -> Values:
        """Return the parameters of `indices` and their distributions."""

    def suggest(self, trial: Trial) -> tuple[int, ...]:
        """Let the trial's sampler choose, and return the option indices it chose."""

    def attributes(self, trial: FrozenTrial, indices: Sequence[int]) -> Mapping[str, Any]:
        """Return what `restore` needs of a suggested trial beside its indices."""

    def restore(self, trial: FrozenTrial) -> Values:
        """Return what `suggest` left in the trial that a study recorded as `trial`."""


class ByKnob:
    """Module names, then the knobs of the chosen module."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    def encode(self, indices: Sequence[int]) -> Values:
        params: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}
        for number, decision in enumerate(self._space.decisions):
            if not self._space.exists(number, indices):
                continue
            option = decision.options[indices[number]]
            params[decision.name] = option.module
            distributions[decision.name] = CategoricalDistribution(tuple(decision.domains))
            for knob, values in decision.domains[option.module].items():
                name = f"{decision.name}.{option.module}.{knob}"
                params[name] = option.knobs[knob]
                distributions[name] = CategoricalDistribution(values)
        return params, distributions

    def suggest(self, trial: Trial) -> tuple[int, ...]:
        indices: list[int] = []
        for number, decision in enumerate(self._space.decisions):
            if not self._space.exists(number, indices):
                indices.append(0)
                continue
            module = trial.suggest_categorical(decision.name, tuple(decision.domains))
            knobs = {
                knob: trial.suggest_categorical(f"{decision.name}.{module}.{knob}", values)
                for knob, values in decision.domains[module].items()
            }
            indices.append(self._space.option_index(number, module, knobs))
        return self._space.normal(indices)

    def attributes(self, trial: FrozenTrial, indices: Sequence[int]) -> Mapping[str, Any]:  # noqa: ARG002
        return {}

    def restore(self, trial: FrozenTrial) -> Values:
        return trial.params, trial.distributions


SILENT = "silent genes"
"""The trial's system attribute that holds them."""


class ByOption:
    """One whole option per decision; a decision with a single option is no parameter."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self.distributions: dict[str, BaseDistribution] = {
            d.name: CategoricalDistribution(range(len(d.options))) for d in space.decisions if len(d.options) > 1
        }

    def encode(self, indices: Sequence[int]) -> Values:
        by_name = {d.name: index for d, index in zip(self._space.decisions, indices, strict=True)}
        return {name: by_name[name] for name in self.distributions}, self.distributions

    def suggest(self, trial: Trial) -> tuple[int, ...]:
        genes = (
            trial.suggest_categorical(d.name, range(len(d.options))) if len(d.options) > 1 else 0
            for d in self._space.decisions
        )
        return self._space.normal(tuple(genes))

    def attributes(self, trial: FrozenTrial, indices: Sequence[int]) -> Mapping[str, Any]:
        heard, _ = self.encode(indices)
        silent = {name: int(gene) for name, gene in trial.params.items() if gene != heard[name]}
        return {SILENT: silent} if silent else {}

    def restore(self, trial: FrozenTrial) -> Values:
        heard, distributions = self.encode(trial.user_attrs["indices"])
        return heard | trial.system_attrs.get(SILENT, {}), distributions
