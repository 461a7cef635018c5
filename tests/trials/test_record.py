import json
from dataclasses import replace

import pytest

from search_spaces import InputError
from trials import EpochResult, Latency, TrialRecord

COMPLETE = TrialRecord(
    architecture={"host": {"name": "resnet20"}, "placement": {}},
    architecture_id="0123456789",
    architecture_hash="0123456789" + "a" * 54,
    seed=1,
    epochs=2,
    status="complete",
    accuracy=0.75,
    loss=0.5,
    history=(EpochResult(1, 2.0, 0.5, 1.0, 0.1, 3.0), EpochResult(2, 1.0, 0.75, 0.5, 0.0, 3.0)),
    params=100,
    macs=1000,
    wall_s=6.5,
    images_per_s=50.0,
    memory_bytes=12345,
    memory_method="a method",
    latency=Latency(1.5, 1.0, 2.0, 100, 1, "a CPU, 1 thread", 1),
    device="a CPU, 1 thread",
    precision="fp32",
    num_train=10,
    num_validation=4,
    num_test=5,
    data_sha256="b" * 64,
    versions={"torch": "2.15.0"},
    started_at="2026-01-01T00:00:00+00:00",
)
FAILED = replace(
    COMPLETE,
    status="failed",
    reason="out of memory",
    traceback="Traceback ...",
    accuracy=None,
    loss=None,
    history=(),
    images_per_s=None,
    memory_bytes=None,
    latency=None,
)
SEGMENTED = replace(
    COMPLETE,
    miou=0.4,
    miou_by_size={"small": None, "medium": 0.25, "large": 0.5},
    test_miou=0.3,
    history=(EpochResult(1, 2.0, 0.5, 1.0, 0.1, 3.0, 0.4),),
)


@pytest.mark.parametrize("record", [COMPLETE, FAILED, SEGMENTED], ids=["complete", "failed", "segmented"])
def test_a_record_comes_back_from_json_as_it_was(record: TrialRecord) -> None:
    assert TrialRecord.from_dict(json.loads(json.dumps(record.to_dict(), allow_nan=False))) == record


def test_the_latency_of_a_record_is_its_median() -> None:
    assert COMPLETE.latency_ms == 1.5
    assert FAILED.latency_ms is None


def test_a_record_of_another_schema_is_refused() -> None:
    with pytest.raises(InputError, match="has schema 5; this version reads 1, 2, 3, 4"):
        TrialRecord.from_dict(COMPLETE.to_dict() | {"schema": 5})


def test_a_record_from_before_there_was_segmentation_is_read() -> None:
    new = ("miou", "miou_by_size", "test_miou", "test_miou_by_size", "compiling")
    old = {key: value for key, value in COMPLETE.to_dict().items() if key not in new} | {"schema": 1}
    old["history"] = [{key: value for key, value in epoch.items() if key != "miou"} for epoch in old["history"]]
    assert TrialRecord.from_dict(old) == COMPLETE


def test_missing_and_unknown_keys_of_a_record_are_named() -> None:
    data = COMPLETE.to_dict() | {"colour": "red"}
    del data["macs"]
    with pytest.raises(InputError, match="colour, macs"):
        TrialRecord.from_dict(data)
