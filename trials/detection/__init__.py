"""Detection and segmentation: images with what is in them on disk, average precision, and the tasks of retraining."""

import trials.retrain  # noqa: F401  # it imports the recipes here, and they its classes: it must be the first
