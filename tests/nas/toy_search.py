"""A toy search: a real space, a real ledger, and trainings that are arithmetic on the architecture's hash."""

import os
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.proposals.early_stopping import EarlyStopping, Rule
from nas.proposals.expectation import Expectation
from nas.proposals.proposer import Proposer, SearchPlan
from nas.study.journal import open_storage
from nas.study.ledger import Ledger
from nas.study.ledger_trial import Proposal
from search_spaces import Architecture, SearchSpace
from trials.record import TrialRecord

HOST = {"name": "resnet20", "classes": 10, "channels": 1, "input": 8}
GATES = {"none": {}, "se": {"reduction": [4, 8]}, "eca": {"kernel_size": [3, 5]}}
BAMS = {"none": {}, "bam": {"reduction": [4, 8], "dilation": [1, 2]}}


def make_record(proposal: Proposal, *, failed: bool = False, accuracy: float | None = None) -> TrialRecord:
    """Return what training `proposal` to its target gives: always the same for the same architecture."""
    architecture = proposal.architecture
    number = int(architecture.hash, 16) + 7 * (proposal.epochs - proposal.target)
    return TrialRecord(
        architecture=architecture.to_dict(),
        architecture_id=architecture.id,
        architecture_hash=architecture.hash,
        seed=proposal.seed,
        epochs=proposal.target,
        status="failed" if failed else "complete",
        reason="the loss is not finite" if failed else None,
        accuracy=None if failed else number % 997 / 997 if accuracy is None else accuracy,
        loss=None if failed else 1.0,
        params=1 + int(architecture.hash, 16) % 101,
        macs=1 + int(architecture.hash, 16) % 89,
        wall_s=1.0,
        images_per_s=1.0,
        memory_bytes=None,
        memory_method="none",
        device="toy",
        precision="fp32",
        num_train=1,
        num_validation=1,
        num_test=1,
        data_sha256="",
        versions={},
        started_at="2026-01-01T00:00:00+00:00",
    )


def fork() -> int:
    """Fork, although Python 3.12 warns of threads: the tests' children only do arithmetic and write files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


@dataclass(frozen=True)
class Toy:
    """The toy search's parts; all its methods take what they need."""

    space: SearchSpace

    @staticmethod
    def make_space(choices: Sequence[dict[str, object]], limits: dict[str, object] | None = None) -> SearchSpace:
        return SearchSpace.from_dict({"host": HOST, "choices": list(choices), "limits": limits or {}})

    def tiny_space(self, limits: dict[str, object] | None = None) -> SearchSpace:
        """Return a space of 5 * 5 * 5 = 125 architectures."""
        return self.make_space([{"at": "*/branch", "per": "stage", "modules": GATES}], limits)

    def bare_host(self) -> Architecture:
        return Architecture.from_dict({"host": HOST, "placement": {}})

    @staticmethod
    def record(proposal: Proposal, *, failed: bool = False, accuracy: float | None = None) -> TrialRecord:
        return make_record(proposal, failed=failed, accuracy=accuracy)

    @staticmethod
    def open(folder: Path, objectives: Sequence[str] = ("accuracy", "macs")) -> Ledger:
        return Ledger.open(open_storage(folder), "search", objectives)

    @staticmethod
    def take(ledger: Ledger) -> Proposal:
        """Take what must be there."""
        proposal = ledger.take()
        assert proposal is not None
        return proposal

    @staticmethod
    def plan(
        sampler: str, trials: int, *, seed: int = 0, deterministic: bool = True, rungs: tuple[int, ...] = ()
    ) -> SearchPlan:
        epochs = rungs[-1] * 3 if rungs else 2
        return SearchPlan(sampler, trials, seed, trial_seed=0, epochs=epochs, deterministic=deterministic, rungs=rungs)

    @staticmethod
    def stopping(ledger: Ledger, plan: SearchPlan, space: SearchSpace, proposer: Proposer) -> EarlyStopping:
        rule = Rule(plan.rungs, 3.0, let_live=0.2, seed=plan.seed, in_order=plan.deterministic)
        return EarlyStopping(ledger, rule, Expectation(ledger, space, proposer.results_before))

    def drive(
        self,
        folder: Path,
        plan: SearchPlan,
        *,
        workers: int = 1,
        hurry: int = 0,
        space: SearchSpace | None = None,
    ) -> Ledger:
        """Search to the end as a driver does, with `workers` that finish in an order that `hurry` seeds.

        One architecture in 13 fails. What is trained is appended to `trained` in the folder, before it is
        recorded.
        """
        return self.drive_in(self.open(folder), folder, plan, workers=workers, hurry=hurry, space=space)

    def drive_in(
        self,
        ledger: Ledger,
        folder: Path,
        plan: SearchPlan,
        *,
        workers: int = 1,
        hurry: int = 0,
        space: SearchSpace | None = None,
        before_record: Callable[[], None] = lambda: None,
    ) -> Ledger:
        """Do the same with a ledger that is open; `before_record` is called before each result is stored."""
        order = random.Random(hurry)
        ledger.recover(in_order=plan.deterministic)
        space = space or self.space
        proposer = Proposer(ledger, space, plan)
        stopping = self.stopping(ledger, plan, space, proposer)
        ledger.add(self.bare_host(), label="host", seed=plan.trial_seed, epochs=plan.epochs)
        running: list[Proposal] = []
        while True:
            stopping.decide()
            ledger.tell(in_order=plan.deterministic)
            while len(running) < workers and (proposal := proposer.next()):
                running.append(proposal)
            if not running:
                break
            proposal = running.pop(order.randrange(len(running)))
            failed = int(proposal.architecture.hash, 16) % 13 == 0
            with open(folder / "trained", "a") as file:
                file.write(f"{proposal.architecture.hash}{f' {proposal.target}' * bool(proposal.rungs)}\n")
            before_record()
            ledger.record(proposal.number, self.record(proposal, failed=failed))
            ledger.tell(in_order=plan.deterministic)
        assert proposer.done
        return ledger

    @staticmethod
    def story(ledger: Ledger) -> list[tuple[object, ...]]:
        """Return all that was proposed, in order: what, why it was refused, and what came out."""
        return [
            (tuple(t.user_attrs["indices"]), t.params, t.user_attrs.get("refused"), t.state, t.values)
            for t in ledger.trials("proposal")
        ]
