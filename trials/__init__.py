"""Training and measuring one architecture: data, training, evaluation, latency, and the record of it all."""

from trials.data import DataConfig, check_images, known_images, load_data
from trials.dataset import Dataset
from trials.latency import Latency, measure_latency
from trials.record import EpochResult, TrialRecord
from trials.run import run_trial
from trials.scene_detection import SceneDetection
from trials.scenes import SceneSet, draw_scene
from trials.splits import split
from trials.train_config import TrainConfig, learning_rate
from trials.trial import TrialConfig

__all__ = [
    "DataConfig",
    "Dataset",
    "EpochResult",
    "Latency",
    "SceneDetection",
    "SceneSet",
    "TrainConfig",
    "TrialConfig",
    "TrialRecord",
    "check_images",
    "draw_scene",
    "known_images",
    "learning_rate",
    "load_data",
    "measure_latency",
    "run_trial",
    "split",
]
