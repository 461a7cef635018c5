"""New placements from nothing and from two parents: a gene is a decision, a module with its knobs.

A child takes each decision from one of its parents, then mutates by what one does to a placement: add a module where
there is none, remove one, move one elsewhere with its knobs, or retune one (other knobs, or another module). Decisions
that cannot be empty are only retuned; so is the host where it is a choice.
"""

from collections.abc import Callable, Sequence

import numpy as np

from nas.samplers.genes import GenePool, Genes

Generator = np.random.Generator

FURTHER_MUTATION = 0.4
"""How often one more mutation follows each."""
SAME_MODULE = 0.5
"""How often retuning keeps the module, where it has other knobs."""


class Variation:
    """Makes genes; what it draws is decided by the generator that it is given."""

    def __init__(self, pool: GenePool) -> None:
        self._pool = pool
        self._kinds: Sequence[Callable[[Genes, Generator], Genes | None]] = (
            self.add,
            self.remove,
            self.move,
            self.retune,
        )

    def first(self, share: float, generator: Generator) -> Genes:
        """Draw a placement that occupies a share in [0, 1) of the numbers of decisions that may be occupied.

        A uniform share makes every number of modules as likely, from none to everywhere. Which decisions, modules and
        knobs is then uniform: the module first, then its knobs, so that many knobs are no advantage. A uniform number
        spread over the decisions of all hosts is uniform on the decisions of any one.
        """
        may_be_empty = self._pool.may_be_empty
        num_occupied = int(share * (len(may_be_empty) + 1))
        occupied = {may_be_empty[i] for i in generator.permutation(len(may_be_empty))[:num_occupied]}
        genes = [0] * len(self._pool.empty)
        for number in self._pool.open:
            empty = self._pool.empty[number]
            genes[number] = self._module(number, generator) if empty is None or number in occupied else empty
        return tuple(genes)

    def child(self, one: Genes, other: Genes, generator: Generator) -> Genes:
        """Cross two parents, which may be the same, and mutate at least once."""
        genes = self.mutated(self.crossed(one, other, generator), generator)
        while generator.random() < FURTHER_MUTATION:
            genes = self.mutated(genes, generator)
        return genes

    def crossed(self, one: Genes, other: Genes, generator: Generator) -> Genes:
        """Take each decision from either parent, evenly."""
        sides = generator.integers(2, size=len(one)).tolist()
        return tuple(theirs if side else mine for mine, theirs, side in zip(one, other, sides, strict=True))

    def mutated(self, genes: Genes, generator: Generator) -> Genes:
        """Add, remove, move or retune, whatever of these is possible, evenly."""
        kinds = list(self._kinds)
        generator.shuffle(kinds)  # a third of a permutation's time
        for kind in kinds:
            if (changed := kind(genes, generator)) is not None:
                return changed
        return genes

    def add(self, genes: Genes, generator: Generator) -> Genes | None:
        """Place a module at an empty decision; None if there is none."""
        empty = self._empty(genes)
        if not empty:
            return None
        number = _one_of(empty, generator)
        return _with(genes, number, self._module(number, generator))

    def remove(self, genes: Genes, generator: Generator) -> Genes | None:
        """Empty an occupied decision; None if none may be emptied."""
        occupied = self._removable(genes)
        if not occupied:
            return None
        number = _one_of(occupied, generator)
        return _with(genes, number, self._pool.empty[number])

    def move(self, genes: Genes, generator: Generator) -> Genes | None:
        """Move a module to an empty decision that has it; None if none can go anywhere."""
        empty = self._empty(genes)
        moves = [
            (number, other, option)
            for number in self._removable(genes)
            for other in empty
            if (option := self._pool.translated(number, genes[number], other)) is not None
        ]
        if not moves:
            return None
        number, other, option = moves[int(generator.integers(len(moves)))]
        return _with(_with(genes, other, option), number, self._pool.empty[number])

    def retune(self, genes: Genes, generator: Generator) -> Genes | None:
        """Give a decision other knobs of its module, or another module; None if there is no other."""
        empty, has_others = self._pool.empty, self._pool.tunable
        tunable = [n for n in self._pool.active(genes) if genes[n] != empty[n] and n in has_others]
        if not tunable:
            return None
        number = _one_of(tunable, generator)
        siblings = self._pool.siblings(number, genes[number])
        others = [m for m in self._pool.modules(number).values() if genes[number] not in m]
        if siblings and (not others or generator.random() < SAME_MODULE):
            return _with(genes, number, _one_of(siblings, generator))
        return _with(genes, number, _one_of(others[int(generator.integers(len(others)))], generator))

    def _empty(self, genes: Genes) -> list[int]:
        empty = self._pool.empty
        return [number for number in self._pool.active(genes) if genes[number] == empty[number]]

    def _removable(self, genes: Genes) -> list[int]:
        empty = self._pool.empty
        return [n for n in self._pool.active(genes) if empty[n] is not None and genes[n] != empty[n]]

    def _module(self, number: int, generator: Generator) -> int:
        modules = list(self._pool.modules(number).values())
        return _one_of(modules[int(generator.integers(len(modules)))], generator)


def _one_of(numbers: Sequence[int], generator: Generator) -> int:
    return numbers[int(generator.integers(len(numbers)))]


def _with(genes: Genes, number: int, option: int | None) -> Genes:
    assert option is not None
    return (*genes[:number], option, *genes[number + 1 :])
