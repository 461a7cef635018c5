"""What trials will take, from records."""

from dataclasses import replace

import pytest
import torch

from search_spaces import Architecture, measure_cost
from search_spaces.activations import measure_activations
from trials import TrainConfig, TrialRecord
from trials.forecast import Forecast, assumed_epoch_s, least_memory_bytes
from trials.record import EpochResult

HOST = {"name": "resnet20", "classes": 10, "channels": 1, "input": 8}
BARE = Architecture.from_dict({"host": HOST, "placement": {}})
GATED = Architecture.from_dict({"host": HOST, "placement": {"*/branch": {"module": "cbam", "reduction": 4}}})


def recorded(
    architecture: Architecture, epoch_s: float, epochs: int = 4, *, overhead_s: float = 1.0, memory_bytes: int = 10**9
) -> TrialRecord:
    """Return the record of a trial that trained so many of 4 epochs on 100 images."""
    return TrialRecord(
        architecture=architecture.to_dict(),
        architecture_id=architecture.id,
        architecture_hash=architecture.hash,
        seed=0,
        epochs=4,
        status="complete",
        history=tuple(EpochResult(n, 1.0, 0.5, 1.0, 0.1, epoch_s) for n in range(1, epochs + 1)),
        params=1,
        macs=1,
        wall_s=overhead_s + epochs * epoch_s,
        images_per_s=1.0,
        memory_bytes=memory_bytes,
        memory_method="made up",
        device="a device",
        precision="fp32",
        num_train=100,
        num_validation=10,
        num_test=10,
        data_sha256="",
        versions={},
        started_at="2026-01-01T00:00:00+00:00",
    )


def seconds(forecast: Forecast, epochs: float, *, started: bool = False) -> float:
    found = forecast.seconds(BARE, epochs, started=started)
    assert found is not None
    return found.value


def test_nothing_is_known_without_a_record_that_has_an_epoch() -> None:
    failed = replace(recorded(BARE, 2.0), status="failed")
    for forecast in (Forecast([]), Forecast([(BARE, recorded(BARE, 2.0, epochs=0))]), Forecast([(BARE, failed)])):
        assert forecast.seconds(BARE, 3) is None
        assert forecast.memory_bytes(BARE) is None


def test_a_trial_takes_its_epochs_and_its_beginning_and_one_under_way_the_rest_of_its_epochs() -> None:
    forecast = Forecast([(BARE, recorded(BARE, 2.0, overhead_s=5.0))])
    assert seconds(forecast, 3) == pytest.approx(5 + 3 * 2)
    assert seconds(forecast, 3, started=True) == pytest.approx(3 * 2)


def test_trials_that_ended_early_tell_as_much() -> None:
    early = Forecast([(BARE, recorded(BARE, 2.0, epochs=1))])
    assert seconds(early, 8) == pytest.approx(seconds(Forecast([(BARE, recorded(BARE, 2.0))]), 8))


def test_only_records_of_the_last_one_s_device_and_precision_count() -> None:
    elsewhere = replace(recorded(BARE, 200.0), device="another")
    rounded = replace(recorded(BARE, 50.0), precision="bf16")
    forecast = Forecast([(BARE, elsewhere), (BARE, rounded), (BARE, recorded(BARE, 2.0))])
    assert seconds(forecast, 1) == pytest.approx(1 + 2)


def test_memory_is_learnt_from_what_was_measured() -> None:
    trained = [
        (architecture, recorded(architecture, 1.0, memory_bytes=memory + n))
        for n in range(10)
        for architecture, memory in ((BARE, 10**9), (GATED, 2 * 10**9))
    ]
    bare, gated = (Forecast(trained).memory_bytes(each) for each in (BARE, GATED))
    assert bare is not None
    assert gated is not None
    assert 0.9e9 < bare.value < 1.3e9 < gated.value < 2.1e9
    assert bare.high is not None
    assert bare.high < gated.value


@pytest.mark.parametrize(("momentum", "ema", "copies"), [(0.9, None, 3), (0.0, None, 2), (0.9, 0.99, 4)])
def test_the_least_memory_is_that_of_weights_and_of_what_a_batch_keeps(
    momentum: float, ema: float | None, copies: int
) -> None:
    train = TrainConfig(epochs=1, batch_size=7, lr=0.1, momentum=momentum, nesterov=False, ema=ema, warmup=0)
    expected = copies * 4 * measure_cost(BARE).params + 2 * 7 * measure_activations(BARE).kept
    assert least_memory_bytes(BARE, train, 2) == expected


def test_before_anything_is_measured_an_epoch_takes_its_macs_or_its_steps() -> None:
    deep = Architecture.from_dict({"host": {"name": "resnet56", "classes": 10}, "placement": {}})
    cpu = torch.device("cpu")
    assert assumed_epoch_s(deep, cpu, 1000, 100) == pytest.approx(3 * measure_cost(deep).macs * 1000 / 20e9)
    assert assumed_epoch_s(BARE, cpu, 100, 1) == pytest.approx(100 * 0.01)
