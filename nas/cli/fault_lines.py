"""What `nas status` says of a trial that failed, or that got over something."""

from reports import TrialView

TRACEBACK_LINES = 6
"""Of a failed trial's traceback; `--json` has all of it."""


def fault_lines(trial: TrialView) -> list[str]:
    """Return why a trial failed, with the end of its traceback, and its warnings; nothing if all went well."""
    name, record = f"trial {trial.number} ({trial.name})", trial.record
    lines = [f"failed: {name}: {trial.reason}"] if trial.state == "failed" else []
    if record is None:
        return lines
    stood = [line for line in (record.traceback or "").splitlines() if line.strip()]
    innermost_first = record.failure == "time"
    kept = stood[:TRACEBACK_LINES] if innermost_first else stood[-TRACEBACK_LINES:]
    return [*lines, *(f"    {line}" for line in kept), *(f"warning: {name}: {text}" for text in record.warnings)]
