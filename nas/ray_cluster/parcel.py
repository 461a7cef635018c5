"""A task inside the configuration of a Tune trial."""

from nas.running.work import Task


class Parcel:
    """A task on its way; loggers, which write down a trial's configuration, see a word of it."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __repr__(self) -> str:
        return "a task"
