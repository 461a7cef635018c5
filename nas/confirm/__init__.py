"""The confirmation: who is trained again, with how many seeds, and against what."""
