"""What the page and the figures draw."""
