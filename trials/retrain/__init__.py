"""Training a winner in full: recipes, many processes, checkpoints at any moment, and a record of it all."""

from trials.retrain.folder import read_record
from trials.retrain.job import Job
from trials.retrain.launch import retrain
from trials.retrain.place import Place
from trials.retrain.process import run_process
from trials.retrain.recipe import Recipe
from trials.retrain.recipes import load_recipe, recipe_name, recipe_names
from trials.retrain.record import RetrainEpoch, RetrainRecord
from trials.retrain.reload import evaluate_retrained, load_retrained
from trials.retrain.stopping import StoppedTrainingError

__all__ = [
    "Job",
    "Place",
    "Recipe",
    "RetrainEpoch",
    "RetrainRecord",
    "StoppedTrainingError",
    "evaluate_retrained",
    "load_recipe",
    "load_retrained",
    "read_record",
    "recipe_name",
    "recipe_names",
    "retrain",
    "run_process",
]
