"""The search: experiments, studies, and the command line."""

from nas.driver import Outcome, search
from nas.experiment import Experiment, load_experiment
from nas.view import open_study

__all__ = ["Experiment", "Outcome", "load_experiment", "open_study", "search"]
