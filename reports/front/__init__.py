"""What was measured: the front and its tables."""
