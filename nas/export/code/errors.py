"""What is raised where code cannot be written."""


class CannotWriteError(ValueError):
    """A module or an expression cannot be written as code that needs torch alone; the message says why."""
