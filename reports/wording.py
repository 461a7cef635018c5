"""Numbers as a reader sees them: accuracy in percent, differences in points, costs with separators and units."""

from collections.abc import Callable

from reports.statistics.intervals import Difference, Interval

NOT_MEASURED = "–"


def percent(fraction: float | None, digits: int = 2) -> str:
    """Return 0.9231 as `92.31 %`."""
    return NOT_MEASURED if fraction is None else f"{100 * fraction:.{digits}f} %"


def share(interval: Interval | None) -> str:
    """Return an accuracy or mIoU as `92.31 ± 0.41 %`, or `92.31 %` without an interval."""
    if interval is None:
        return NOT_MEASURED
    half = "" if interval.half_width is None else f" ± {100 * interval.half_width:.2f}"
    return f"{100 * interval.mean:.2f}{half} %"


def metric(name: str, interval: Interval | None) -> str:
    """Return a metric of a full training: a log-loss in nats, and everything else as a share."""
    return loss(interval) if name == "loss" else share(interval)


def loss(interval: Interval | None) -> str:
    """Return `0.241 ± 0.012`, in nats."""
    if interval is None:
        return NOT_MEASURED
    half = "" if interval.half_width is None else f" ± {interval.half_width:.3f}"
    return f"{interval.mean:.3f}{half}"


def points(difference: Difference | None) -> str:
    """Return a difference of shares as `+0.42 [+0.10, +0.74]`, in percentage points."""
    return _difference(difference, 100, 2)


def nats(difference: Difference | None) -> str:
    """Return a difference of log-losses as `−0.012 [−0.020, −0.004]`, in nats."""
    return _difference(difference, 1, 3)


def _difference(difference: Difference | None, scale: float, digits: int) -> str:
    if difference is None or difference.mean is None:
        return NOT_MEASURED
    interval = difference.interval
    bounds = ""
    if interval is not None and interval.low is not None and interval.high is not None:
        bounds = f" [{signed(scale * interval.low, digits)}, {signed(scale * interval.high, digits)}]"
    return signed(scale * difference.mean, digits) + bounds


def signed(value: float, digits: int) -> str:
    """Return `+0.42`, `−0.42` (a real minus sign) or `0.00`."""
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def count(value: float) -> str:
    """Return 272474 as `272,474`."""
    return f"{value:,.0f}"


def amount(value: float) -> str:
    """Return 40813184 as `40.81 M`; below 10,000 the number itself."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.{1 if letter == 'k' else 2}f} {letter}"
    return f"{value:,.0f}"


def big(value: int) -> str:
    """Return 515978035200 as `516 billion`, 384 as `384`, and what has no common name as `2.1 × 10^22`."""
    if value < 10**6:
        return f"{value:,}"
    for exponent, word in ((6, "million"), (9, "billion"), (12, "trillion")):
        if value < 10 ** (exponent + 3):
            return f"{value / 10**exponent:.3g} {word}"
    exponent = len(str(value)) - 1
    return f"{value / 10**exponent:.1f} × 10^{exponent}"


def over_host(value: float, host: float) -> str:
    """Return how much a cost is above the host's: `+0.02 %`, two digits that count; `0 %` where equal."""
    if not host:
        return NOT_MEASURED
    share = 100 * (value - host) / host
    if share == 0:
        return "0 %"
    digits = 1 if abs(share) >= 1 else 2 if abs(share) >= 0.095 else 3
    return f"{signed(share, digits)} %" if round(abs(share), 3) else "< 0.001 %"


def duration(seconds: float) -> str:
    """Return `2 h 05 min`, `3 min 20 s` or `4.2 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60):02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def memory(num_bytes: float) -> str:
    """Return `312 MiB`."""
    return f"{num_bytes / 2**20:,.0f} MiB"


def value_of(objective: str, value: float) -> str:
    """Return an objective's value with its unit."""
    words: dict[str, Callable[[float], str]] = {
        "accuracy": percent,
        "miou": percent,
        "loss": lambda nats: f"{nats:.3f} nats",
        "latency_ms": lambda ms: f"{ms:.3g} ms",
        "memory_bytes": memory,
    }
    return words.get(objective, amount)(value)


def plural(number: int, one: str, many: str | None = None) -> str:
    """Return `1 trial`, `2 trials`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
