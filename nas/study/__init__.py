"""The study: its trials, where it is stored, and who may write to it."""
