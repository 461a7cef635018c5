"""Classification as a task of the engine."""
