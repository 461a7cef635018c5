"""The table of placements as a problem that searches are replayed on: what a training in legs gives is looked up.

A training takes the CPU seconds that it took.
"""

from collections.abc import Sequence
from itertools import pairwise

from placement_table import Table
from replay import Problem, Search, made_up_record

from nas.study.ledger_trial import Proposal
from reports.objectives import to_minimise
from trials.record import TrialRecord


def table_search(table: Table, sampler: str, trials: int, seed: int, *, stops: bool, workers: int) -> Search:
    """Return a search with a sampler's seed of its own, and one of the table's seeds for its trainings, in turn."""
    rungs = table.lengths[:-1] if stops else ()
    return Search(sampler, trials, seed, table.seeds[seed % len(table.seeds)], table.full, rungs, workers)


class Lookup:
    """A table as what trains, with one of its seeds, and what the others say is true.

    Args:
        table: the trainings.
        objectives: of the search; a quality, then costs.
        seed: of the trainings.
    """

    def __init__(self, table: Table, objectives: tuple[str, ...], seed: int) -> None:
        self.objectives = objectives
        self._table, self._column = table, table.seeds.index(seed)
        self._others = [column for column in range(len(table.seeds)) if column != self._column]

    def problem(self) -> Problem:
        """Return it as the problem that a search is run on.

        The box reaches from the bare host's quality to the best, and from the least of each cost to the most, by the
        means over all seeds.
        """
        table = self._table
        rows, seeds = range(table.space.size), range(len(table.seeds))
        points = to_minimise([self._values(row, seeds) for row in rows], self.objectives)
        ideal, corner = points.min(axis=0), points.max(axis=0)
        corner[0] = points[0, 0]  # the bare host: option 0 of each decision is `none`
        return Problem(table.space, self.objectives, self.train, self.truth, ideal, corner)

    def truth(self, architecture_hash: str) -> list[float]:
        """Return what is true of an architecture, by whole trainings with the seeds that the search does not use."""
        return self._values(self._table.row[architecture_hash], self._others)

    def at_its_end(self, architecture_hash: str) -> list[float]:
        """Return what the search would be told of an architecture that it trains to its end."""
        return self._values(self._table.row[architecture_hash], [self._column])

    def train(self, proposal: Proposal) -> TrialRecord:
        """Return the record of a proposal's present leg."""
        table, row, epochs = self._table, self._table.row[proposal.architecture.hash], proposal.target
        return made_up_record(
            proposal,
            first_epoch=table.first_epoch[epochs] if proposal.rungs else 1,
            wall_s=self._cpu_s(row, proposal),
            accuracy=float(table.accuracy.at[epochs][row, self._column]),
            loss=float(table.loss.at[epochs][row, self._column]),
            params=int(table.params[row]),
            macs=int(table.macs[row]),
        )

    def _cpu_s(self, row: int, proposal: Proposal) -> float:
        """Return what the leg took; a whole training without rungs takes the stable part of each leg and the last."""
        table = self._table
        if proposal.rungs:
            return float(table.cpu_s[proposal.target][row, self._column])
        ends = pairwise([*(table.first_epoch[n] for n in table.lengths), table.full + 1])
        return float(
            sum(
                table.cpu_s[n][row, self._column] * (after - first) / (n - first + 1)
                for n, (first, after) in zip(table.lengths, ends, strict=True)
            )
        )

    def _values(self, row: int, columns: Sequence[int]) -> list[float]:
        table = self._table
        seeds = list(columns)
        values = {
            "accuracy": table.accuracy.at[table.full][row, seeds].mean(),
            "loss": table.loss.at[table.full][row, seeds].mean(),
            "params": table.params[row],
            "macs": table.macs[row],
        }
        return [float(values[name]) for name in self.objectives]
