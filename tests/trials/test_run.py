import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from search_spaces import Architecture, InputError, measure_cost
from trials import EpochResult, TrialConfig, TrialRecord, run_trial
from trials.device_data import on_device
from trials.evaluate import evaluate
from trials.trial import prepare

HOST = {"name": "resnet20", "classes": 10, "channels": 1, "input": 8}
SE = {"module": "se", "reduction": 4}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(placement: dict[str, Any] | None = None) -> Architecture:
    return Architecture.from_dict({"host": HOST, "placement": placement or {}})


def config(train: dict[str, Any] | None = None, data: dict[str, Any] | None = None, **more: Any) -> TrialConfig:
    return TrialConfig.model_validate(
        {
            "data": {"source": "digits", "validation": 100, "training": 128} | (data or {}),
            "train": {"epochs": 2, "batch_size": 64, "lr": 0.1, "precision": "fp32"} | (train or {}),
            "device": "cpu",
            **more,
        }
    )


def test_a_network_learns_the_digits() -> None:
    record = run_trial(make({"layer3.*/branch": SE}), config({"epochs": 4}, {"training": None}), seed=0)
    assert record.status == "complete"
    assert record.accuracy is not None
    assert record.accuracy > 0.7  # chance is 0.1
    assert record.history[-1].train_loss < record.history[0].train_loss / 2


def test_a_record_says_what_was_measured_and_how() -> None:
    architecture = make({"layer1.0/branch": SE})
    record = run_trial(architecture, config(), seed=3)
    assert Architecture.from_dict(record.architecture) == architecture
    assert (record.architecture_id, record.architecture_hash) == (architecture.id, architecture.hash)
    assert (record.params, record.macs) == (
        measure_cost(architecture).params,
        measure_cost(architecture).macs,
    )
    assert (record.num_train, record.num_validation, record.num_test) == (128, 100, 360)
    assert (record.seed, record.epochs, record.split, record.precision) == (3, 2, "validation", "fp32")
    assert (record.accuracy, record.loss) == (record.history[-1].accuracy, record.history[-1].loss)
    assert [result.epoch for result in record.history] == [1, 2]
    assert sum(result.wall_s for result in record.history) < record.wall_s
    assert record.latency is None
    assert record.test_accuracy is None


def test_a_record_of_a_trial_comes_back_from_json() -> None:
    record = run_trial(make(), config(latency=True, test=True), seed=0)
    assert TrialRecord.from_dict(json.loads(json.dumps(record.to_dict(), allow_nan=False))) == record


def numbers(record: TrialRecord) -> list[tuple[float, ...]]:
    return [(r.train_loss, r.accuracy, r.loss, r.lr) for r in record.history]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits_whatever_torch_drew_before(precision: str) -> None:
    first = run_trial(make({"*/out": SE}), config({"precision": precision}), seed=1)
    torch.rand(7)
    state = torch.get_rng_state()
    again = run_trial(make({"*/out": SE}), config({"precision": precision}), seed=1)
    assert numbers(first) == numbers(again)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_not_set_is_what_it_was_before_it_could_be_set() -> None:
    defaults = {"schedule": "cosine", "flip": "random", "mixup": 0.0, "ema": None, "compile": False}
    defaults |= {"attention_lr": 1.0, "norm_weight_decay": True}
    asked = config(defaults, {"crop": "zero", "cutout": 0})
    assert asked == config()
    assert numbers(run_trial(make(), asked, seed=1)) == numbers(run_trial(make(), config(), seed=1))


def test_each_setting_of_the_training_changes_it() -> None:
    settings: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}),
        ({"schedule": "linear"}, {}),
        ({}, {"flip": True}),
        ({"flip": "alternating"}, {"flip": True}),
        ({"mixup": 0.2}, {}),
        ({"ema": 0.9}, {}),
        ({"attention_lr": 3.0}, {}),
        ({"norm_weight_decay": False}, {}),
        ({}, {"crop": "reflect"}),
        ({}, {"cutout": 4}),
    ]
    small = {"training": 64}
    losses = {run_trial(make({"*/out": SE}), config(train, data | small), seed=1).loss for train, data in settings}
    assert len(losses) == len(settings)


def test_a_record_says_whether_the_network_was_compiled_and_why() -> None:
    assert run_trial(make(), config(), seed=0).compiling == "not compiled: `compile: false`"
    automatic = run_trial(make(), config({"compile": "auto"}), seed=0)
    assert automatic.compiling == "not compiled: auto, it does not pay on a CPU"


def test_the_averaged_weights_are_the_ones_that_are_scored_and_written(tmp_path: Path) -> None:
    path, architecture = tmp_path / "w.safetensors", make({"*/out": SE})
    settings = config({"ema": 0.9}, test=True)
    record = run_trial(architecture, settings, seed=0, weights=path)
    model = architecture.build()
    model.load_state_dict(load_file(path))
    trial = prepare(architecture, settings, seed=0)
    validation = torch.from_numpy(trial.validation_index)
    data = on_device(trial.dataset, trial.device, "train")
    assert evaluate(model, data, index=validation, batch_size=128, precision="fp32").loss == pytest.approx(record.loss)


def test_another_seed_gives_other_numbers() -> None:
    assert numbers(run_trial(make(), config(), seed=1)) != numbers(run_trial(make(), config(), seed=2))


def test_measuring_more_does_not_change_the_training() -> None:
    more = config(latency=True, test=True)
    plain, measured = run_trial(make(), config(), seed=1), run_trial(make(), more, seed=1)
    assert numbers(plain) == numbers(measured)
    assert measured.latency_ms is not None
    assert measured.latency_ms > 0
    assert measured.test_accuracy in [hits / 360 for hits in range(361)]


def test_every_epoch_is_reported_as_it_ends() -> None:
    seen: list[EpochResult] = []
    record = run_trial(make(), config(), seed=0, on_epoch=seen.append)
    assert tuple(seen) == record.history


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConnectionError("the driver is gone")])
def test_what_the_caller_raises_passes_through(error: BaseException) -> None:
    def fail(_: EpochResult) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        run_trial(make(), config(), seed=0, on_epoch=fail)
    assert caught.value is error


def test_a_diverged_trial_fails_with_its_epoch_and_without_a_traceback(tmp_path: Path) -> None:
    record = run_trial(make(), config({"lr": 1e30}), seed=0, weights=tmp_path / "w.safetensors")
    assert record.status == "failed"
    assert record.reason is not None
    assert "loss was" in record.reason
    assert "in epoch 1 of 2" in record.reason
    assert (record.traceback, record.accuracy, record.images_per_s, record.history) == (None, None, None, ())
    assert list(tmp_path.iterdir()) == []


class Broken(Architecture):
    """Builds a network whose forward pass raises what it is told to."""

    error: Exception

    def build(self, seed: int = 0) -> nn.Module:
        error, model = self.error, super().build(seed)

        def fail(*_: object) -> None:
            raise error

        model.register_forward_pre_hook(fail)
        return model


def broken(error: Exception) -> Broken:
    architecture = Broken(make().host)
    object.__setattr__(architecture, "error", error)
    return architecture


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TypeError("wrong\nand more"), "TypeError: wrong"),
        (
            torch.OutOfMemoryError("tried to allocate 9 GiB"),
            "out of memory on cpu: tried to allocate 9 GiB, even with micro-batches of 32",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
            "out of memory on cpu: DefaultCPUAllocator: can't allocate memory: you tried 9 bytes, "
            "even with micro-batches of 32",
        ),
        (MemoryError(), "out of memory on cpu: no message, even with micro-batches of 32"),
    ],
)
def test_a_crash_is_a_failed_record_with_reason_and_traceback(error: Exception, reason: str) -> None:
    record = run_trial(broken(error), config(), seed=0)
    assert (record.status, record.reason, record.accuracy) == ("failed", reason, None)
    assert record.traceback is not None
    assert "in fail" in record.traceback


def test_memory_that_really_runs_out_on_the_cpu_is_called_so() -> None:
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        torch.empty(2**60, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": {"source": "folder", "dir": "/no/such/folder"}}, "/no/such/folder/train: no such folder"),
        ({"data": {"validation": 5000}}, "validation: 5000"),
        ({"train": {"batch_size": 129}}, "batch_size: 129 is more than the 128 training images"),
        ({"device": "tpu"}, "device 'tpu' is not available"),
        ({"train": {"flip": "alternating"}}, "`flip: alternating` needs images that are mirrored; digits has"),
        ({"data": {"crop": "reflect", "crop_padding": 8}}, "needs a `crop_padding` from 1 to 7, got 8"),
        ({"data": {"crop": "reflect", "crop_padding": 0}}, "needs a `crop_padding` from 1 to 7, got 0"),
        ({"data": {"cutout": 9}}, "`cutout` must be at most the images' 8 pixels, got 9"),
    ],
)
def test_a_users_mistakes_pass_through(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_trial(make(), config(**settings), seed=0)


def test_a_host_for_other_images_is_a_users_mistake() -> None:
    other = Architecture(replace_host(make().host, input=16))
    with pytest.raises(InputError, match="has `input: 16`, but the images need `input: 8`"):
        run_trial(other, config(), seed=0)


def replace_host(host: Any, **changes: int) -> Any:
    return type(host).model_validate(host.model_dump() | changes)


def test_the_weights_rebuild_the_trained_network(tmp_path: Path) -> None:
    path = tmp_path / "new" / "w.safetensors"
    architecture = make({"layer2.0/branch": SE, "layer2.1/branch": SE})
    run_trial(architecture, config(), seed=5, weights=path)
    model = architecture.build(seed=0)
    untrained = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(load_file(path))
    assert not torch.equal(model.state_dict()["fc.weight"], untrained["fc.weight"])
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert Architecture.from_dict(json.loads(metadata["architecture"])) == architecture
    assert (metadata["seed"], metadata["epochs"], len(json.loads(metadata["mean"]))) == ("5", "2", 1)
    assert [item.name for item in path.parent.iterdir()] == ["w.safetensors"]


def test_shared_modules_can_be_written_and_read(tmp_path: Path) -> None:
    shared = SE | {"share": "all"}
    architecture = make({"layer2.0/branch": shared, "layer2.1/branch": shared})
    record = run_trial(architecture, config(), seed=0, weights=tmp_path / "w.safetensors")
    assert record.reason is None
    architecture.build().load_state_dict(load_file(tmp_path / "w.safetensors"))
