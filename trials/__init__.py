"""Training and measuring one architecture: data, training, evaluation, latency, and the record of it all."""

from trials.data import DataConfig, check_images, known_images, load_data
from trials.dataset import Dataset
from trials.latency import Latency, measure_latency
from trials.record import EpochResult, TrialRecord
from trials.run import run_trial
from trials.splits import split
from trials.train import TrainConfig, learning_rate
from trials.trial import TrialConfig

__all__ = [
    "DataConfig",
    "Dataset",
    "EpochResult",
    "Latency",
    "TrainConfig",
    "TrialConfig",
    "TrialRecord",
    "check_images",
    "known_images",
    "learning_rate",
    "load_data",
    "measure_latency",
    "run_trial",
    "split",
]
