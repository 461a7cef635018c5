"""What is written beside the page."""
