"""A host as a graph: its trace, and the blocks, merges, stages and own attention found in it."""
