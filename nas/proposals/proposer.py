"""What to train next: asks the sampler, refuses what is known or over a limit, and knows when to stop.

In a deterministic search a sampler that learns is asked for whole generations (a *batch*), all of them before
the first is handed out and after the last of the previous one was told. So the search does not depend on
which worker is faster; and since the study holds all that a draw depends on, a search that was killed goes on
as if it had not been. Baselines that a sampler learns from count as results that the second batch waits for; the first
depends on no results.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from nas.proposals.asked import Asked
from nas.proposals.memory_limit import MemoryLimit
from nas.proposals.parameters import Draw
from nas.samplers import ExhaustiveSampler, make_sampler, sampler_entry
from nas.study.ledger import Ledger
from nas.study.ledger_index import UNFINISHED, Key
from nas.study.ledger_trial import Proposal
from nas.study.trained import TrainedTrials
from search_spaces import Architecture, SearchSpace

MOST_REDRAWS = 64
MOST_TO_SCAN = 100_000


@dataclass(frozen=True)
class SearchPlan:
    """What a search asks for.

    trials: proposals to be trained, to the end or until they are stopped. seed: of the sampler. trial_seed, epochs: of
    each training.
    """

    sampler: str
    trials: int
    seed: int
    trial_seed: int
    epochs: int
    deterministic: bool
    rungs: tuple[int, ...] = ()
    """Epochs at which a training may be stopped early."""


class Proposer:
    """Fills a ledger with proposals until `plan.trials` of them are trained or the space is exhausted.

    Raises:
        InputError: The sampler is unknown, or not for this space.
    """

    def __init__(
        self, ledger: Ledger, space: SearchSpace, plan: SearchPlan, memory_limit: MemoryLimit | None = None
    ) -> None:
        entry = sampler_entry(plan.sampler)
        # Kept from the first start: a search whose number of trials is raised later goes on with the same
        # population.
        generation = ledger.attributes.get("generation", entry.generation(plan.trials))
        self._sampler = make_sampler(plan.sampler, space, ledger.directions, generation)
        if "generation" not in ledger.attributes:
            ledger.set_attribute("generation", generation)
        self._ledger, self._space, self._plan, self._memory_limit = ledger, space, plan, memory_limit
        self._architectures: dict[tuple[int, ...], Architecture] = {}
        self._places: dict[int, tuple[int, ...] | None] = {}
        self._asked = Asked(ledger, self._place if self._sampler.learns_from_baselines else None)
        self._scan = self._shuffled_space()
        self._put_off: deque[tuple[int, ...]] = deque()
        self._trained = TrainedTrials(ledger)

    @property
    def exhausted(self) -> bool:
        """Whether the space has nothing left to propose: a normal end."""
        return bool(self._ledger.attributes.get("exhausted", False))

    @property
    def done(self) -> bool:
        """Whether nothing is left to hand out or to wait for."""
        counts = self._ledger.counts()
        met = self.exhausted or counts.trained >= self._plan.trials
        return met and not self._ledger.in_state(*UNFINISHED) and not self._open_batch()

    def next(self) -> Proposal | None:
        """Hand out what to run next (baselines and what an earlier driver left first), marked as running.

        None: nothing now, since the trials asked for are trained or running, or a generation must be told
        first, or the space is exhausted.
        """
        self._fill()
        return self._ledger.take()

    def results_before(self, batch: int) -> list[FrozenTrial]:
        """Return what was trained to its end and a decision about a batch may read, with `indices`.

        In a deterministic search those are the results that the batch waited for, the same ones whenever it is asked
        for: none where batches do not wait for each other, and none for the first.
        """
        self._asked.refresh()
        whole = [trial for trial in self._asked.shown if _is_whole(trial)]
        if not self._plan.deterministic:
            return whole
        if not self._sampler.learns or batch == 0:
            return []
        return [trial for trial in whole if trial.user_attrs.get("batch", (-1, 0))[0] < batch]

    def _fill(self) -> None:
        if self._finish_batch():
            return
        counts = self._ledger.counts()
        accepted = self._accepted()
        room = self._plan.trials - counts.trained - counts.unfinished
        must_wait = self._plan.deterministic and self._sampler.learns and accepted and self._any_untold()
        if counts.waiting or room <= 0 or must_wait or self.exhausted:
            return
        number = accepted[-1].user_attrs["batch"][0] + 1 if accepted else 0
        size = min(self._sampler.generation, room) if self._plan.deterministic else 1
        self._ask((number, size), size)

    def _any_untold(self) -> bool:
        """Return whether results are missing that the sampler, or a memory limit's forecast, will learn from."""
        untold = self._ledger.untold()
        return bool(untold) if self._memory_limit else any(self._is_shown(trial) for trial in untold)

    def _is_shown(self, trial: FrozenTrial) -> bool:
        """Return whether the sampler learns from a trial: a proposal, or a baseline that it could have drawn."""
        if trial.user_attrs["role"] == "proposal":
            return True
        return self._sampler.learns_from_baselines and self._place(trial) is not None

    def _place(self, baseline: FrozenTrial) -> tuple[int, ...] | None:
        """Return a baseline's option indices; None if it is not of the space, or was trained in another way."""
        if baseline.number not in self._places:
            how = (baseline.user_attrs["seed"], baseline.user_attrs["epochs"])
            alike = how == (self._plan.trial_seed, self._plan.epochs)
            self._places[baseline.number] = self._space.encode(self._ledger.architecture(baseline)) if alike else None
        return self._places[baseline.number]

    def _follow(self) -> None:
        """Show the sampler what was asked and what came out since the last time."""
        self._asked.refresh()
        self._sampler.follow(self._asked.shown, self._asked.take_changed())

    def _finish_batch(self) -> bool:
        missing = self._open_batch()
        if not missing:
            return False
        batch, num_missing = missing
        self._ask(batch, num_missing)
        return True

    def _open_batch(self) -> tuple[tuple[int, int], int] | None:
        """Return the last batch and how many a killed driver left unasked, or None if it is whole."""
        accepted = self._accepted()
        if not accepted or self.exhausted:
            return None
        number, size = accepted[-1].user_attrs["batch"]
        num_asked = sum(1 for _ in takewhile(lambda t: t.user_attrs["batch"][0] == number, reversed(accepted)))
        return ((number, size), size - num_asked) if num_asked < size else None

    def _ask(self, batch: tuple[int, int], num_proposals: int) -> None:
        if self._memory_limit:
            self._memory_limit.learn(self._trained.of(self._told_before(batch[0])))
        for _ in range(num_proposals):
            if not self._ask_one(batch):
                self._ledger.set_attribute("exhausted", True)
                return

    def _ask_one(self, batch: tuple[int, int]) -> bool:
        known = self._ledger.known()
        for draw in self._draws():
            reason = self._refusal(draw.indices, known)
            if reason is None:
                self._propose(draw, batch)
                return True
            self._ledger.refuse(reason, draw)
        for indices in self._others():
            if self._refusal(indices, known) is None:
                self._follow()
                self._propose(self._sampler.adopt(indices), batch)
                return True
        return False

    def _told_before(self, batch: int) -> list[FrozenTrial]:
        """Return the trained trials that a forecast for a batch may read: the same ones whenever it is asked for.

        In a deterministic search those are all trials before the batch; none where batches do not wait for each
        other, and none for the first.
        """
        finished = [t for t in self._ledger.trials() if t.state.is_finished() and "refused" not in t.user_attrs]
        if not self._plan.deterministic:
            return finished
        if not self._sampler.learns or batch == 0:
            return []
        return [t for t in finished if t.user_attrs.get("batch", (-1, 0))[0] < batch]

    def _propose(self, draw: Draw, batch: tuple[int, int]) -> None:
        architecture = self._architecture(draw.indices)
        plan = self._plan
        self._ledger.propose(
            architecture, draw, seed=plan.trial_seed, epochs=plan.epochs, batch=batch, rungs=plan.rungs
        )

    def _draws(self) -> Iterator[Draw]:
        """Draw from the sampler until MOST_REDRAWS in a row were refused, those before a restart included."""
        while True:
            self._asked.refresh()
            if self._asked.num_refused_last >= MOST_REDRAWS:
                return
            self._follow()
            draw = self._sampler.draw(self._seed())
            if draw is None:
                return
            yield draw

    def _others(self) -> Iterator[tuple[int, ...]]:
        """List what the sampler did not find: neighbours of what was accepted, then the space or a sample."""
        generator = np.random.default_rng(self._seed())
        if not isinstance(self._sampler, ExhaustiveSampler):
            for trial in self._accepted():
                neighbours = self._space.neighbours(tuple(trial.user_attrs["indices"]))
                yield from (neighbours[i] for i in generator.permutation(len(neighbours)))
        if self._space.size <= MOST_TO_SCAN:
            yield from self._scanned()
        else:
            yield from (self._space.sample_indices(generator) for _ in range(MOST_REDRAWS))

    def _scanned(self) -> Iterator[tuple[int, ...]]:
        """Go on through the shuffled space; what only the memory limit keeps out is looked at again each time.

        A forecast changes, every other refusal is for good. Looked at first, such things come in the order in which
        a scan from the beginning, as a restarted search has it, would find them.
        """
        kept = []
        try:
            while self._put_off:
                indices = self._put_off.popleft()
                if self._needs_too_much(indices):
                    kept.append(indices)
                else:
                    yield indices
        finally:
            self._put_off.extendleft(reversed(kept))
        for indices in self._scan:
            if self._needs_too_much(indices):
                self._put_off.append(indices)
            else:
                yield indices

    def _shuffled_space(self) -> Iterator[tuple[int, ...]]:
        # Never started again: what was refused once stays refused.
        for number in np.random.default_rng(self._plan.seed).permutation(self._space.size):
            yield self._space.at(int(number))

    def _refusal(self, indices: tuple[int, ...], known: Mapping[Key, int]) -> str | None:
        number = known.get((self._architecture(indices).hash, self._plan.trial_seed, self._plan.epochs))
        if number is not None:
            return f"repeats trial {number}"
        return self._space.violation(indices) or self._needs_too_much(indices)

    def _needs_too_much(self, indices: tuple[int, ...]) -> str | None:
        return self._memory_limit.violation(self._architecture(indices)) if self._memory_limit else None

    def _architecture(self, indices: tuple[int, ...]) -> Architecture:
        if indices not in self._architectures:
            self._architectures[indices] = self._space.decode(indices)
        return self._architectures[indices]

    def _accepted(self) -> Sequence[FrozenTrial]:
        self._asked.refresh()
        return self._asked.accepted

    def _seed(self) -> int:
        """Return the next draw's seed: a function of the search's seed and the number of draws before."""
        return int(np.random.SeedSequence([self._plan.seed, self._ledger.num_asked()]).generate_state(1)[0])


def _is_whole(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE and "stopped" not in trial.user_attrs
