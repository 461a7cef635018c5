"""Detection and segmentation: images with what is in them on disk, average precision, and the tasks of retraining."""
