"""What is raised where a part of an export cannot be made, or is not what it should be."""


class ExportError(RuntimeError):
    """A part of an export does not load, does not run, or computes something else than the trained network."""
