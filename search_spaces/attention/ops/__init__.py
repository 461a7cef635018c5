"""What the attention modules compute with: the same values as the plain expressions, in less time and memory."""
