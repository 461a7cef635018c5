"""Detection and segmentation: images with what is in them on disk, average precision, and the tasks of retraining."""

# The engine reads the recipes of the tasks here, and these are of its classes: whichever is imported first, it comes first.
import trials.retrain  # noqa: F401
