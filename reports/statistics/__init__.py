"""What can be said of numbers: intervals, tests, regressions and fronts, of no study in particular."""
