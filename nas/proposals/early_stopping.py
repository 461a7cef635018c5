"""Early stopping under several objectives: successive halving by non-dominated rank.

Asynchronous successive halving (Li et al., arXiv:1810.05934, algorithm 2) with the loss replaced by the order of
NSGA-II (Deb et al., 2002): non-dominated rank over the quality and the costs, ties by crowding distance; as MO-ASHA
does (Schmucker et al., arXiv:2106.12639). Departures:

- Ranked is what each trial is expected to have at its end, by all trials at all rungs and at their ends together
  (`nas.proposals.expectation`), as soon as there is anything to expect it from; until then, what it has at the rung.
- A rung is the end of a training of that length, cooled down (`trials.train_config`, `wsd`), not a cut through a longer
  one, so that what was stopped can be compared with whatever else was trained for as long.
- A trial is judged once per rung, among all that have reached it until then, and stopped for good if it is not among
  the best 1/`reduction_factor`.
- A random few are let live to their end although the rule would stop them, so that it can be said what it cost.

In a deterministic search a batch is judged as a whole, once all of it and of the batches before have reached the rung
or can reach it no more; so the decisions do not depend on which worker is faster. Otherwise each trial is judged as it
comes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from optuna.trial import FrozenTrial

from nas.proposals.expectation import Expectation
from nas.study.ledger import Ledger
from nas.study.ledger_trial import rung_results, state_of, target_of
from reports.statistics.pareto import order_by_rank

_STREAM = 0x5BA6
"""Keeps these random numbers apart from others under the same seed."""


@dataclass(frozen=True)
class Rule:
    """When trials are stopped."""

    rungs: tuple[int, ...]
    """Epochs, ascending, all below those of a whole training."""
    reduction_factor: float
    """One in so many goes on from each rung."""
    let_live: float
    """Share of those to be stopped that are trained to their end all the same."""
    seed: int
    """Of the draw of those."""
    in_order: bool
    """Whether the search is deterministic."""


class EarlyStopping:
    """Decides about a ledger's paused trials; it has no state beside the ledger's."""

    def __init__(self, ledger: Ledger, rule: Rule, expectation: Expectation) -> None:
        self._ledger, self._rule, self._expectation = ledger, rule, expectation

    def decide(self) -> list[int]:
        """Decide what can be decided now, and return the numbers of the trials that were stopped."""
        stopped: list[int] = []
        for rung in self._rule.rungs:
            if any(_is_paused_at(trial, rung) for trial in self._ledger.in_state("paused")):
                proposals = [t for t in self._ledger.trials("proposal") if state_of(t) != "refused"]
                stopped += self._decide_at(rung, proposals)
        return stopped

    def _decide_at(self, rung: int, proposals: Sequence[FrozenTrial]) -> list[int]:
        stopped: list[int] = []
        for group, so_far in self._groups(rung, proposals):
            survivors = self._survivors(rung, so_far, group[0].user_attrs["batch"][0])
            for trial in group:
                if trial.number in survivors or "spared" in trial.user_attrs:
                    self._ledger.go_on(trial.number)
                elif self._is_spared(trial.number):
                    self._ledger.go_on(trial.number, spared=True)
                else:
                    self._ledger.stop(trial.number)
                    stopped.append(trial.number)
        return stopped

    def _groups(self, rung: int, proposals: Sequence[FrozenTrial]) -> list[tuple[list[FrozenTrial], list[FrozenTrial]]]:
        """Return what is judged together, and the trials that it may be judged by."""
        if not self._rule.in_order:
            return [([t for t in proposals if _is_paused_at(t, rung)], list(proposals))]
        groups = []
        exhausted = self._ledger.attributes.get("exhausted", False)
        so_far: list[FrozenTrial] = []  # of this batch and all before, in order
        for _, batch in groupby(proposals, key=lambda t: t.user_attrs["batch"][0]):
            members = list(batch)
            is_whole = exhausted or len(members) == members[0].user_attrs["batch"][1]
            if not is_whole or any(_is_on_its_way(t, rung) for t in members):
                break
            so_far += members
            if group := [t for t in members if _is_paused_at(t, rung)]:
                groups.append((group, list(so_far)))
        return groups

    def _survivors(self, rung: int, so_far: Sequence[FrozenTrial], batch: int) -> set[int]:
        judged = [trial for trial in so_far if rung in rung_results(trial)]
        points = self._expectation.points(rung, so_far, batch)
        num_survivors = math.ceil(len(judged) / self._rule.reduction_factor)
        return {judged[i].number for i in order_by_rank(points)[:num_survivors]}

    def _is_spared(self, number: int) -> bool:
        return bool(np.random.default_rng((self._rule.seed, _STREAM, number)).random() < self._rule.let_live)


def _is_paused_at(trial: FrozenTrial, rung: int) -> bool:
    return state_of(trial) == "paused" and target_of(trial) == rung


def _is_on_its_way(trial: FrozenTrial, rung: int) -> bool:
    """Return whether a trial may still reach a rung that it has not reached."""
    return rung not in rung_results(trial) and state_of(trial) in ("waiting", "running", "paused")
