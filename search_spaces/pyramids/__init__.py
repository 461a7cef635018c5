"""Feature pyramids over any host, and what reads them.

Nothing is imported here: `assembly` brings torchvision, which is slow to import, and `levels` does not.
"""
