"""What the measurements say: effects, enrichment, how sure it is, time, what was recommended."""
