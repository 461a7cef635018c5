"""How many trials run at a time: what the user says, what was measured on this machine, or what is measured now."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from nas.experiment import Experiment
from nas.running.calibration import CANDIDATES, Calibration, calibrate
from nas.running.time_left import Job, jobs_of_confirmation, jobs_of_search
from nas.study.ledger import Ledger
from search_spaces import Architecture
from search_spaces.cost import host_cost
from trials import TrialConfig, load_data
from trials.devices import describe_device, pick_device
from trials.forecast import assumed_epoch_s

CALIBRATION = "calibration"
"""The study's attribute: the machine, and what was measured there."""

SHORT_S = 120.0
"""A search that is expected to take less does not measure."""


def settle_workers(
    experiment: Experiment, search: Ledger, config: TrialConfig, devices: Sequence[str], say: Callable[[str], None]
) -> int:
    """Return how many trials run at a time, and say what was measured for it.

    Args:
        experiment: what is searched.
        search: its ledger, with the baselines in it; what is measured is kept there.
        config: of a trial.
        devices: what trials are spread over; several are taken to be alike.
        say: tells the user.
    """
    asked, resources = experiment.config.search.workers, experiment.config.resources
    if isinstance(asked, int):
        return asked
    num_cores, on_gpu = _num_cores(), pick_device(devices[0]).type == "cuda"
    if on_gpu and resources.gpu:
        return max(1, min(int(len(devices) / resources.gpu + 1e-6), int(num_cores / resources.cpu)))
    num_cores = max(1, int(num_cores / resources.cpu))
    default = 1 if on_gpu else num_cores
    machine = {"devices": [describe_device(pick_device(name)) for name in devices], "cores": num_cores}
    kept = search.attributes.get(CALIBRATION)
    if kept and kept["machine"] == machine:
        return _tell(Calibration.from_dict(kept["measured"]), len(devices), say)
    candidates = _candidates(on_gpu, num_cores, len(devices))
    num_train = config.data.training or len(load_data(config.data).labels) - config.data.validation
    if len(candidates) < 2 or _expected_s(experiment, search, devices, num_train, default) < SHORT_S:
        return default * len(devices)
    say("measuring how many trials at a time are fastest here ...")
    on_one = config.model_copy(update={"device": devices[0]})
    found = calibrate(_typical_host(experiment), on_one, num_train, candidates, default)
    if found.images_per_s:
        search.set_attribute(CALIBRATION, {"machine": machine, "measured": found.to_dict()})
    return _tell(found, len(devices), say)


def _tell(found: Calibration, num_devices: int, say: Callable[[str], None]) -> int:
    say(found.in_words + (f"; the same on each of {num_devices} devices" if num_devices > 1 else ""))
    return found.workers * num_devices


def _num_cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _candidates(on_gpu: bool, num_cores: int, num_devices: int) -> tuple[int, ...]:
    """Return what to choose from for each device: on a CPU, one process of one thread on each core."""
    if not on_gpu:
        return (num_cores,)
    return tuple(num for num in CANDIDATES if num == 1 or num * num_devices <= num_cores)


def _typical_host(experiment: Experiment) -> Architecture:
    hosts = sorted(experiment.space.hosts, key=lambda host: host_cost(host).macs)
    return Architecture.of(hosts[len(hosts) // 2], {})


def _expected_s(experiment: Experiment, search: Ledger, devices: Sequence[str], num_train: int, workers: int) -> float:
    """Return what the search and its confirmation still take, as far as that is known before anything is measured."""
    num_workers = workers * len(devices)
    jobs: list[Job] = jobs_of_search(experiment.config, search, {}, num_workers)
    jobs += jobs_of_confirmation(experiment.config, search)
    how: dict[str, Any] = {"num_train": num_train, "batch_size": experiment.config.train.batch_size}
    device = pick_device(devices[0])
    return sum(j.times.expected * j.epochs * assumed_epoch_s(j.architecture, device, **how) for j in jobs) / num_workers
