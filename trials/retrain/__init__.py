"""Training a winner in full: recipes, many processes, checkpoints at any moment, and a record of it."""
