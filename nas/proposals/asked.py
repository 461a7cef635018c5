"""What was asked so far, as a proposer looks at it: what was accepted, and what its sampler is shown."""

import copy
from collections.abc import Callable

from optuna.trial import FrozenTrial, create_trial

from nas.samplers.sampler import RUNG_VALUES
from nas.study.ledger import Ledger
from nas.study.ledger_trial import state_of

Place = Callable[[FrozenTrial], tuple[int, ...] | None]


class Asked:
    """The proposals of a ledger, and the baselines that a sampler learns from; `refresh` looks at what changed only.

    Args:
        ledger: whose trials they are.
        place: gives a baseline's option indices if the sampler is to be shown it, else None; None shows no baselines.
    """

    def __init__(self, ledger: Ledger, place: Place | None) -> None:
        self._ledger, self._changes, self._place = ledger, ledger.changes(), place
        self.shown: list[FrozenTrial] = []
        """Proposals, refused ones too, and baselines with their `indices`, in the order of the study; what finished
        has its `RUNG_VALUES`."""
        self.accepted: list[FrozenTrial] = []
        """Proposals that were not refused, in order."""
        self.num_refused_last = 0
        """Proposals that were refused since the last one that was not."""
        self._positions: dict[int, tuple[int | None, int | None]] = {}
        self._changed: set[int] = set()

    def refresh(self) -> None:
        """Take in what changed in the ledger."""
        for trial in self._changes.take():
            if trial.number not in self._positions:
                self._append(trial)
                continue
            shown_at, accepted_at = self._positions[trial.number]
            if accepted_at is not None:
                self.accepted[accepted_at] = trial
            if shown_at is not None:
                self.shown[shown_at] = self._as_shown(trial) or trial
                self._changed.add(shown_at)

    def take_changed(self) -> set[int]:
        """Return the positions in `shown` that are new or have changed since this was called last."""
        changed, self._changed = self._changed, set()
        return changed

    def _append(self, trial: FrozenTrial) -> None:
        shown_at = accepted_at = None
        if (shown := self._as_shown(trial)) is not None:
            shown_at = len(self.shown)
            self.shown.append(shown)
            self._changed.add(shown_at)
        if trial.user_attrs["role"] == "proposal":
            if state_of(trial) == "refused":
                self.num_refused_last += 1
            else:
                self.num_refused_last, accepted_at = 0, len(self.accepted)
                self.accepted.append(trial)
        self._positions[trial.number] = shown_at, accepted_at

    def _as_shown(self, trial: FrozenTrial) -> FrozenTrial | None:
        if trial.user_attrs["role"] == "proposal":
            return self._with_rung_values(trial)
        place = self._place(trial) if self._place else None
        return None if place is None else _with_indices(trial, place)

    def _with_rung_values(self, proposal: FrozenTrial) -> FrozenTrial:
        values = self._ledger.rung_values(proposal) if proposal.state.is_finished() else {}
        if not values:
            return proposal
        shown = copy.copy(proposal)
        shown.user_attrs = {**proposal.user_attrs, RUNG_VALUES: values}
        return shown


def _with_indices(baseline: FrozenTrial, indices: tuple[int, ...]) -> FrozenTrial:
    return create_trial(
        state=baseline.state,
        values=baseline.values,
        user_attrs={"role": "baseline", "indices": list(indices)},
        system_attrs=baseline.system_attrs,
    )
