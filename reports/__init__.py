"""What the trials say: the front and how sure it is, as a page, figures and tables."""

from reports.front.tables import FrontRow, front_rows
from reports.objectives import OBJECTIVES, Objective, to_minimise
from reports.page import write_report
from reports.statistics.intervals import Difference, Interval, correct_for_many, paired_difference, t_interval
from reports.statistics.pareto import hypervolume, hypervolume_history, knee, nondominated
from reports.view import StudyView, TrialView

__all__ = [
    "OBJECTIVES",
    "Difference",
    "FrontRow",
    "Interval",
    "Objective",
    "StudyView",
    "TrialView",
    "correct_for_many",
    "front_rows",
    "hypervolume",
    "hypervolume_history",
    "knee",
    "nondominated",
    "paired_difference",
    "t_interval",
    "to_minimise",
    "write_report",
]
