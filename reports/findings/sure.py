"""How sure a study's numbers are: how trainings scatter, what luck the best had, what was selected on which split."""

from dataclasses import dataclass

from reports import wording
from reports.findings import reliability
from reports.findings.replicates import LEAST_SEEDS, SelfComparison, Spread, compare_with_itself, spread_of
from reports.findings.winners_curse import LEAST, Correction, Noise, correct_best, noise_of
from reports.front.goal import Goal, goal_in
from reports.front.summary import Summary
from reports.view import StudyView


@dataclass(frozen=True)
class Sure:
    """What stands in the report's section of that name."""

    goal: Goal
    spread: Spread | None
    itself: SelfComparison | None
    best: Correction | None
    """Of what the report shows: the confirmation, else the search."""
    best_of_search: Correction | None
    """Of the search, where there is a confirmation too."""
    ranks: tuple[str, ...]
    """Sentences on how short trainings rank, and how reliably one does."""
    selection: tuple[str, ...]
    """Sentences on what was selected on which split."""

    @property
    def sentences_on_spread(self) -> tuple[str, ...]:
        """How far trainings of one network differ."""
        if self.spread is None:
            return (
                "How far trainings of one network differ is not known: that takes at least two architectures that "
                "were trained with the same two seeds, which a confirmation does.",
            )
        spread, goal = self.spread, self.goal
        both, rest = spread.between_seeds, spread.rest
        of_mean = spread.of_difference(spread.num_seeds)
        return (
            f"Trainings of one architecture with different seeds scatter by {goal.size(both.value)} (standard "
            f"deviation in {goal.words}; 95 % interval {goal.size(both.low)} to {goal.size(both.high)}), say "
            f"{spread.num_architectures} architectures over {spread.num_seeds} seeds.",
            f"What a seed does to all alike is taken out of differences by pairing: {goal.size(rest.value)} "
            f"({goal.size(rest.low)} to {goal.size(rest.high)}) is left, so that a difference of two means over "
            f"{spread.num_seeds} seeds has a standard error of {goal.size(of_mean)}.",
        )

    @property
    def sentence_on_itself(self) -> str:
        """What comparing networks with themselves says."""
        found = self.itself
        if found is None:
            return (
                f"No network can be compared with itself here (A/A): that takes {LEAST_SEEDS} seeds of one "
                "architecture, two for each half."
            )
        return (
            f"Networks compared with themselves (A/A), halves of the seeds of {found.num_architectures} architectures "
            f"against the other halves: {found.found:.1%} of {found.num_comparisons:,} comparisons say “better” or "
            f"“worse” where {found.nominal:.0%} should (95 % interval {found.low:.1%} to {found.high:.1%}, as if each "
            f"architecture were one comparison; {wording.plural(found.num_seeds, 'seed')} in each half at the least)."
        )


def sure_of(view: StudyView, search: Summary, shown: Summary) -> Sure:
    """Return how sure the numbers are of what a report shows: the confirmation, else the search."""
    confirmed = shown.stage == "confirm"
    noise = noise_of(shown) if confirmed else None
    known = Noise(noise.sd, noise.degrees) if noise else None  # of the search's one seed nothing more is known
    return Sure(
        goal=goal_in(shown),
        spread=spread_of(shown) if confirmed else None,
        itself=compare_with_itself(shown) if confirmed else None,
        best=correct_best(shown),
        best_of_search=correct_best(search, known) if confirmed else None,
        ranks=reliability.sentences(view, shown) if confirmed else (),
        selection=_selection(search, shown),
    )


def luck_in_words(goal: Goal, correction: Correction | None, what: str) -> str:
    """Return what is expected of the best if it were measured again: `Found 93.10 %, corrected 92.82 % [...]`."""
    if correction is None:
        return (
            f"What of the best {what} is luck cannot be said: that takes {LEAST} architectures, and seeds or images "
            "that tell the noise."
        )
    how = (
        f"trainings scatter by {goal.size(correction.noise.sd)} beside what seeds do to all alike"
        if correction.noise.degrees
        else f"chance in which images were kept for validation is worth {goal.size(correction.noise.sd)}; the seeds, "
        "of which nothing is known, come on top, so this corrects too little"
    )
    return (
        f"The best of {correction.num_candidates} architectures {what}, {correction.item.name}, was found at "
        f"{goal.text(correction.found)}. The best of many is lucky too: corrected for having been picked it is "
        f"expected at {goal.text(correction.corrected)} [{goal.text(correction.low)}, {goal.text(correction.high)}], "
        f"{goal.size(correction.luck)} less good ({how})."
    )


def _selection(search: Summary, shown: Summary) -> tuple[str, ...]:
    """Say what was selected on which split, and what was not."""
    sentences = []
    if search.items:
        sentences.append(
            f"The search selected by the validation split, one training of each of {len(search.items)} architectures "
            "with the same seed: its best is biased upward, and so is the place on its front."
        )
    if shown.stage == "confirm":
        sentences.append(
            "The confirmation trained anew with other seeds, each with its own validation split, so that the search's "
            "luck is not in these numbers; but the best of the confirmed was picked by them too, for which the "
            "correction is."
        )
    tested = any(record.test_accuracy is not None for item in shown.items for record in item.records)
    sentences.append(
        "The test split was measured once for each confirmed training, and nothing was selected by it."
        if tested
        else "The test split was not measured, and nothing was selected by it."
    )
    return tuple(sentences)
