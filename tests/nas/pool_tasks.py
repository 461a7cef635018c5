"""What the workers of the pool's tests compute; they import it by name."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from nas.running.local_pool import Report, WorkerBrokenError


def behave(task: dict[str, Any], report: Report) -> Any:
    """Do what the task says."""
    match task["do"]:
        case "pid":
            return os.getpid()
        case "count":
            for i in range(task["to"]):
                report(i)
            return "counted"
        case "sleep":
            time.sleep(task["seconds"])
            return "slept"
        case "threads":
            return os.environ["OMP_NUM_THREADS"]
        case "exit":
            os._exit(task["code"])
        case "die":
            report("dying")
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise ZeroDivisionError("for the test")
        case "break":
            raise WorkerBrokenError("the device is gone\nTraceback ...")
        case "unpicklable":
            return lambda: None
        case "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
            return "ignored"
        case "work":  # holds the processor, not a sleep, for as long as nobody kills it
            Path(task["file"]).write_text(str(os.getpid()))
            while True:
                sum(range(1000))
    raise ValueError(task)
