"""Trials on workers: processes, their number, their limits, and what is said of their progress."""
