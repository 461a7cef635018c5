"""Driving a study: propose, train, record, confirm, report; from the start or from where it stopped."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nas.baselines import make_baselines
from nas.confirm import queue_confirmations
from nas.early_stopping import EarlyStopping, Rule
from nas.executor import Executor
from nas.experiment import Experiment, changes, load_experiment, settle_sampler
from nas.lineup import note_controls, room_in
from nas.local_pool import LocalPool
from nas.memory_limit import MemoryLimit, memory_limit_of
from nas.num_workers import settle_workers
from nas.progress import Watcher
from nas.proposer import Proposer, SearchPlan
from nas.study import Ledger
from nas.study_address import without_passwords
from nas.study_home import CONFIRM, FOLDER, SEARCH, Driven, FolderHome, StudyHome, place_study
from nas.study_plugins import PLUGINS, plugins_of_space, refuse_changed_plugins, require_plugins
from nas.view import view_of
from nas.work import run_task
from reports import StudyView, write_report
from reports.front import summarise_confirm
from reports.reliability import fidelities_of
from search_spaces import Architecture
from search_spaces.errors import InputError
from search_spaces.plugins import Plugin
from trials import TrialConfig, load_data, split
from trials.data import check_images
from trials.graphed_step import check_graphs

PACKAGE = "attention-placement-search"
"""The name under which the project is installed."""


@dataclass(frozen=True)
class Outcome:
    """A finished search."""

    view: StudyView
    folder: Path
    report: Path
    """The path of `report.html`."""


def search(
    experiment: str | Experiment,
    study: str | Path | None = None,
    *,
    data_dir: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    command: str | None = None,
    watcher: Watcher | None = None,
    folder: Path | None = None,
    take_over: bool = False,
) -> Outcome:
    """Run an experiment to its end, or go on with it where its study stands.

    Args:
        experiment: a shipped name, a path, or a loaded experiment.
        study: a folder, or the URL of a database, which may name the study behind a `#`; default
            `studies/<experiment's name>`.
        data_dir: where the images are on this machine, instead of the experiment's `data.dir`.
        workers: trials at a time, instead of the experiment's `search.workers`.
        device: `auto`, `cpu` or `cuda`.
        command: how the search is repeated, for the report.
        watcher: shows the progress.
        folder: for the weights, checkpoints and report of a study in a database; default where they were, or
            `studies/<study's name>`.
        take_over: drive the study although another process does; that one ends.

    Raises:
        InputError: a mistake in the experiment, images that cannot be found, a study of another experiment or with
            another source of the user's own modules, a study that another process drives or takes over, a database
            that cannot be reached.
        KeyboardInterrupt: after everything was put in order; the same call goes on.
    """
    name = experiment.name if isinstance(experiment, Experiment) else Path(experiment).stem
    home = place_study(study, name, folder)
    job = _check(experiment, home, data_dir, device)
    with home.drive(take_over=take_over) as driven:
        ledgers = _open_ledgers(driven, home, job, command or _command())
        _run(job, home.folder, *ledgers, workers, watcher or Watcher.for_terminal())
        view = view_of(home, *ledgers)
        fidelities = fidelities_of(view, summarise_confirm(view))
        ledgers[1].set_attribute("fidelities", [asdict(fidelity) for fidelity in fidelities])
        return Outcome(view, home.folder, write_report(view, home.folder / "report"))


@dataclass(frozen=True)
class _Job:
    """A search in which no mistake was found."""

    experiment: Experiment
    task: TrialConfig
    baselines: Sequence[tuple[str, Architecture]]
    plugins: Sequence[Plugin]
    devices: Sequence[str]
    memory_limit: MemoryLimit | None


def _check(experiment: str | Experiment, home: StudyHome, data_dir: str | None, device: str) -> _Job:
    """Find everything that a user may have got wrong, before anything is written. Raises InputError."""
    known = home.facts()
    require_plugins(home.shown, known)
    loaded = experiment if isinstance(experiment, Experiment) else load_experiment(experiment)
    loaded = settle_sampler(loaded, known)
    task = _trial_config(loaded, data_dir, device)
    _refuse_changes(home.shown, known, loaded)
    refuse_changed_plugins(home.shown, known)
    plugins = plugins_of_space(loaded.space)
    _check_data(loaded, task)
    baselines = make_baselines(loaded.space, loaded.config.search.random_baselines, loaded.config.search.seed)
    room_in(loaded.config.confirm, len(baselines))  # refuses a budget that cannot be enough
    devices = _devices(device)
    check_graphs(task.train, torch.device("cpu" if devices[0] == "auto" else devices[0]))
    return _Job(loaded, task, baselines, plugins, devices, memory_limit_of(loaded, devices[0]))


def _run(job: _Job, folder: Path, ledger: Ledger, confirmed: Ledger, workers: int | None, watcher: Watcher) -> None:
    """Train what is to be trained, the search first, then the confirmation."""
    experiment = job.experiment
    proposer = Proposer(ledger, experiment.space, _plan(experiment), job.memory_limit)
    num_workers = workers or settle_workers(experiment, ledger, job.task, job.devices, watcher.say)
    with LocalPool(num_workers, run_task, threads_per_worker=1) as pool, watcher:
        watcher.begin_search(experiment, ledger, num_workers)
        executor = Executor(pool, folder, job.task, job.devices, watcher)
        in_order, stopping = experiment.config.search.deterministic, _early_stopping(experiment, ledger)
        executor.run(ledger, proposer.next, in_order=in_order, stopping=stopping)
        _confirm(experiment, ledger, confirmed, executor, watcher)


def _confirm(experiment: Experiment, ledger: Ledger, confirmed: Ledger, executor: Executor, watcher: Watcher) -> None:
    note_controls(ledger, confirmed, experiment.config, experiment.space)
    while queue_confirmations(ledger, confirmed, experiment.config):
        watcher.begin_confirm(confirmed)
        executor.run(confirmed, confirmed.take, in_order=False, confirm=experiment.config.confirm)


def _trial_config(experiment: Experiment, data_dir: str | None, device: str) -> TrialConfig:
    config = experiment.config
    data = config.data.model_copy(update={"dir": data_dir} if data_dir else {})
    return TrialConfig(data=data, train=config.train, device=device, latency="latency_ms" in config.objectives)


def _refuse_changes(study: str, known: Mapping[str, Any], experiment: Experiment) -> None:
    """Refuse to go on with a study of another experiment; nothing is written."""
    if "experiment" in known and (changed := changes(known["experiment"], experiment.record)):
        listed = "\n  ".join(changed)
        raise InputError(
            f"{study} holds a study of another experiment; changed since:\n  {listed}\n"
            f"Only description, data.dir, search.workers, confirm and a raised search.trials may change. "
            f"Undo the change, or start another study with --study DIR|URL"
        )


def _check_data(experiment: Experiment, config: TrialConfig) -> None:
    """Read the images once, before anything is written or a worker started, and check that they fit the hosts."""
    images = load_data(config.data)
    split(images, config.data.validation, config.data.training, experiment.config.search.seed)
    for host in experiment.space.hosts:
        check_images(host, images)


def _open_ledgers(driven: Driven, home: StudyHome, job: _Job, command: str) -> tuple[Ledger, Ledger]:
    """Open the search and the confirmation, take over what an earlier driver left, and queue the baselines."""
    experiment, config = job.experiment, job.experiment.config
    facts = {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version(PACKAGE),
        PLUGINS: [plugin.to_dict() for plugin in job.plugins],
    }
    search = Ledger.open(driven.storage, home.optuna_name(SEARCH), config.objectives, facts, driven.check)
    # What may change since the last start is written anew.
    search.set_attribute("experiment", experiment.record)
    search.set_attribute("command", command)
    if not isinstance(home, FolderHome):
        search.set_attribute(FOLDER, str(home.folder.resolve()))
    search.recover(in_order=config.search.deterministic)
    confirmed = Ledger.open(driven.storage, home.optuna_name(CONFIRM), config.objectives, check=driven.check)
    confirmed.recover(in_order=False)
    for label, architecture in job.baselines:
        search.add(architecture, label=label, seed=config.search.seed, epochs=config.train.epochs)
    if search.attributes.get("exhausted") and search.counts().trained < config.search.trials:
        search.set_attribute("exhausted", False)  # found out again, should it still be so
    return search, confirmed


def _plan(experiment: Experiment) -> SearchPlan:
    search = experiment.config.search
    return SearchPlan(
        sampler=search.sampler,
        trials=search.trials,
        seed=search.seed,
        trial_seed=search.seed,
        epochs=experiment.config.train.epochs,
        deterministic=search.deterministic,
        rungs=tuple(search.early_stopping.rungs) if search.early_stopping else (),
    )


def _early_stopping(experiment: Experiment, ledger: Ledger) -> EarlyStopping | None:
    search = experiment.config.search
    if search.early_stopping is None:
        return None
    config = search.early_stopping
    rule = Rule(tuple(config.rungs), config.reduction_factor, config.let_live, search.seed, search.deterministic)
    return EarlyStopping(ledger, rule)


def _devices(device: str) -> list[str]:
    """Return the devices to spread trials over: every GPU for `auto` and `cuda`, else the one that is named."""
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [device]


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *without_passwords(sys.argv[1:])])
