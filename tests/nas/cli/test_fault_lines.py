from dataclasses import replace

import pytest

from nas.cli.fault_lines import TRACEBACK_LINES, fault_lines
from reports import TrialView
from search_spaces import Architecture
from trials.unmeasured import unmeasured

HOST = Architecture.from_dict({"host": {"name": "resnet20"}, "placement": {}})
FRAMES = [f'  File "f.py", line {i}, in g' for i in range(10)]


def make_view(failure: str, state: str = "failed", **more: object) -> TrialView:
    record = replace(unmeasured(HOST, 0, 2, failure, "it broke", "\n".join(FRAMES)), **more)  # type: ignore[arg-type]
    return TrialView(4, "baseline", "host", record, state, None, None, HOST)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("failure", "near"), [("crash", FRAMES[-TRACEBACK_LINES:]), ("time", FRAMES[:TRACEBACK_LINES])]
)
def test_a_failure_is_told_with_the_frames_nearest_to_it(failure: str, near: list[str]) -> None:
    head, *told = fault_lines(make_view(failure))
    assert head == "failed: trial 4 (host): it broke"
    assert told == [f"    {line}" for line in near]


def test_what_a_trial_got_over_is_told_and_a_good_one_has_no_lines() -> None:
    over = make_view("crash", "complete", traceback=None, warnings=("no checkpoint could be written",))
    assert fault_lines(over) == ["warning: trial 4 (host): no checkpoint could be written"]
    assert fault_lines(make_view("crash", "complete", traceback=None)) == []
