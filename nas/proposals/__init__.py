"""What is trained next, and what is stopped early."""
