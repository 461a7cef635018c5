"""How many trials at a time: the decision on made-up measurements, and one real measurement."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from toy_search import HOST, Toy

import nas.running.num_workers
from nas.experiment import Experiment, load_experiment
from nas.running.calibration import Calibration, Memory, Processes, calibrate, choose_workers, common_rate
from nas.running.num_workers import CALIBRATION, settle_workers
from nas.study.ledger import Ledger
from search_spaces import Architecture
from trials import DataConfig, TrainConfig, TrialConfig

CONFIG = TrialConfig(
    data=DataConfig(source="digits", validation=100),
    train=TrainConfig(epochs=3, batch_size=16, lr=0.1, warmup=0),
    device="cpu",
)


def measured(rates: Mapping[int, float]) -> Callable[[int], float]:
    return lambda num: rates[num]


def test_the_number_after_which_more_bring_little_is_taken() -> None:
    rates = {1: 100.0, 2: 190.0, 3: 250.0, 4: 255.0, 6: 400.0}
    found = choose_workers((1, 2, 3, 4, 6), measured(rates))
    assert found.workers == 3
    assert list(found.images_per_s) == [1, 2, 3, 4]
    assert found.why == "4 bring less than 5% more than 3"


def test_the_most_are_taken_where_each_brings_more() -> None:
    found = choose_workers((1, 2, 4), measured({1: 100.0, 2: 200.0, 4: 400.0}))
    assert found == Calibration(4, {1: 100.0, 2: 200.0, 4: 400.0}, "no more were tried")


def test_no_more_are_tried_than_fit_into_memory_or_time() -> None:
    rates = {1: 100.0, 2: 200.0, 4: 400.0}
    full = choose_workers((1, 2, 4), measured(rates), fits=lambda num: num < 4)
    assert full.workers == 2
    assert "memory" in full.why
    rounds = iter([False, True])
    late = choose_workers((1, 2, 4), measured(rates), out_of_time=lambda: next(rounds))
    assert late.workers == 1
    assert "time" in late.why


def test_a_round_that_fails_ends_the_measuring() -> None:
    found = choose_workers((1, 2, 4), measured({1: 100.0, 2: 0.0}))
    assert found.workers == 1
    assert found.why == "2 at once failed, or took too long"


def test_the_rate_is_that_of_the_time_in_which_all_train() -> None:
    # The second process is two seconds late: between 2 and 4 both finish an epoch of 10 images a second.
    assert common_rate([[0.0, 1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0]], 10) == pytest.approx(20)
    # Of the second process's first epoch after the common beginning, a half lies in the common time.
    assert common_rate([[1.0, 2.0], [0.5, 1.5, 2.5]], 10) == pytest.approx(10 + 10)
    assert common_rate([[0.0, 1.0], [1.0, 2.0]], 10) == 0


def test_memory_suffices_for_what_started_and_leaves_room_for_larger_networks() -> None:
    processes = Processes(Architecture.from_dict({"host": HOST, "placement": {}}), CONFIG, 1000, 4)
    processes._num_ready = 4
    assert processes.fits(4)
    assert not processes.fits(6)
    # Four with a peak of 100, and 60 left: a quarter of 100 for each is too much. Of three, the fourth's 100 are free.
    processes._memory = [Memory(peak=100, free=60)] * 4
    assert not processes.fits(4)
    assert processes.fits(3)


def test_real_processes_are_measured() -> None:
    host = Architecture.from_dict({"host": HOST, "placement": {}})
    found = calibrate(host, CONFIG, 1000, (1, 2), default=2, most_s=300)
    assert found.workers in (1, 2)
    assert set(found.images_per_s) == {1, 2}
    assert all(rate > 0 for rate in found.images_per_s.values())
    assert Calibration.from_dict(found.to_dict()) == found


def test_a_training_that_fails_leaves_the_default() -> None:
    wrong = Architecture.from_dict({"host": HOST | {"classes": 3}, "placement": {}})
    found = calibrate(wrong, CONFIG, 1000, (1, 2), default=2, most_s=300)
    assert found.workers == 2
    assert found.images_per_s == {}


def test_processes_that_are_not_ready_in_time_leave_the_default() -> None:
    host = Architecture.from_dict({"host": HOST, "placement": {}})
    found = calibrate(host, CONFIG, 1000, (1, 2), default=2, most_s=0)
    assert found == Calibration(2, {}, "2 processes were not ready after 0 s")


class Measurements:
    """Stands for `calibrate` and counts how often it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, num_cores: int = 8) -> None:
        self.asked: list[tuple[int, ...]] = []
        monkeypatch.setattr(nas.running.num_workers, "calibrate", self)
        monkeypatch.setattr(nas.running.num_workers, "_num_cores", lambda: num_cores)
        monkeypatch.setattr(nas.running.num_workers, "_candidates", lambda *_: (num_cores // 2, num_cores))

    def __call__(
        self, host: Architecture, config: TrialConfig, num_train: int, candidates: tuple[int, ...], default: int
    ) -> Calibration:
        assert not host.items
        assert config.device == "cpu"
        assert num_train == 300
        assert default == candidates[-1]
        self.asked.append(candidates)
        return Calibration(candidates[0], {candidates[0]: 1.0}, "as a test has it")


def settle(experiments: Path, tmp_path: Path, ledger: Ledger, *, workers: str = "auto", epochs: int = 10**6) -> int:
    text = (experiments / "nsga2.yaml").read_text().replace("workers: 2", f"workers: {workers}")
    (tmp_path / "e.yaml").write_text(text.replace("train: {epochs: 1", f"train: {{epochs: {epochs}"))
    experiment: Experiment = load_experiment(str(tmp_path / "e.yaml"))
    config = TrialConfig(data=experiment.config.data, train=experiment.config.train, device="cpu")
    return settle_workers(experiment, ledger, config, ["cpu"], lambda _: None)


def test_a_number_that_is_asked_for_is_not_measured(
    toy: Toy, experiments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measurements = Measurements(monkeypatch)
    assert settle(experiments, tmp_path, toy.open(tmp_path), workers="3") == 3
    assert measurements.asked == []


def test_it_is_measured_once_on_a_machine_and_kept_in_the_study(
    toy: Toy, experiments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measurements = Measurements(monkeypatch)
    ledger = toy.open(tmp_path)
    ledger.add(toy.bare_host(), label="host", seed=3, epochs=10**6)
    assert settle(experiments, tmp_path, ledger) == 4
    again = toy.open(tmp_path)
    assert settle(experiments, tmp_path, again) == 4
    assert measurements.asked == [(4, 8)]
    assert again.attributes[CALIBRATION]["measured"]["workers"] == 4


def test_another_machine_is_measured_anew(
    toy: Toy, experiments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = toy.open(tmp_path)
    ledger.add(toy.bare_host(), label="host", seed=3, epochs=10**6)
    Measurements(monkeypatch)
    assert settle(experiments, tmp_path, ledger) == 4
    other = Measurements(monkeypatch, num_cores=12)
    assert settle(experiments, tmp_path, ledger) == 6
    assert other.asked == [(6, 12)]


def test_on_a_cpu_every_core_has_a_trial(
    toy: Toy, experiments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measurements = Measurements(monkeypatch)
    monkeypatch.undo()
    monkeypatch.setattr(nas.running.num_workers, "_num_cores", lambda: 5)
    ledger = toy.open(tmp_path)
    ledger.add(toy.bare_host(), label="host", seed=3, epochs=10**6)
    assert settle(experiments, tmp_path, ledger) == 5
    assert measurements.asked == []


@pytest.mark.parametrize(
    ("cores", "gpus", "candidates"), [(16, 1, (1, 2, 3, 4, 6, 8)), (16, 4, (1, 2, 3, 4)), (2, 4, (1,))]
)
def test_on_gpus_there_are_no_more_trials_than_cores(cores: int, gpus: int, candidates: tuple[int, ...]) -> None:
    assert nas.running.num_workers._candidates(True, cores, gpus) == candidates


def test_a_short_search_is_not_measured(
    toy: Toy, experiments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measurements = Measurements(monkeypatch)
    ledger = toy.open(tmp_path)
    ledger.add(toy.bare_host(), label="host", seed=3, epochs=1)
    assert settle(experiments, tmp_path, ledger, epochs=1) == 8
    assert measurements.asked == []
