"""Driving a study: propose, train, record, confirm, report; from the start or from where it stopped."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nas import ray_cluster
from nas.confirm.confirmations import queue_confirmations
from nas.confirm.lineup import note_controls, room_in
from nas.experiment import Experiment, changes, load_experiment, settle
from nas.proposals.baselines import make_baselines
from nas.proposals.early_stopping import EarlyStopping, Rule
from nas.proposals.expectation import Expectation
from nas.proposals.memory_limit import MemoryLimit, memory_limit_of
from nas.proposals.proposer import Proposer, SearchPlan
from nas.running.execution import Execution, Rules
from nas.running.executor import Executor
from nas.running.local_executor import LocalExecutor
from nas.running.local_pool import LocalPool
from nas.running.num_workers import settle_workers
from nas.running.progress import Watcher
from nas.running.tracking import Tracker, make_callbacks, make_loggers
from nas.running.weights import drop_unfinished
from nas.running.work import run_task
from nas.study.address import without_passwords
from nas.study.home import ANALYSIS, CONFIRM, FOLDER, SEARCH, Driven, FolderHome, StudyHome, place_study
from nas.study.ledger import Ledger
from nas.study.plugins import PLUGINS, plugins_of_space, refuse_changed_plugins, require_plugins
from nas.view import view_of
from reports import StudyView, write_report
from reports.findings.reliability import fidelities_of
from reports.front.summary import summarise_confirm
from search_spaces import Architecture
from search_spaces.errors import InputError
from search_spaces.plugins import Plugin
from trials import TrialConfig, load_data, split
from trials.data import check_images
from trials.devices import pick_device
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
    ray: ray_cluster.RaySettings | None = None,
    track: Sequence[Tracker] = (),
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
        ray: the cluster that the trials run on; None for a pool of processes on this machine.
        track: where the trials are written down beside the study; `mlflow` and `wandb` come from Ray, and need `ray`.
        command: how the search is repeated, for the report.
        watcher: shows the progress.
        folder: for the weights, checkpoints and report of a study in a database; default where they were, or
            `studies/<study's name>`.
        take_over: drive the study although another process does; that one ends.

    Raises:
        InputError: a mistake in the experiment, images that cannot be found, a study of another experiment or with
            another source of the user's own modules, a study that another process drives or takes over, a database or a
            cluster that cannot be reached.
        KeyboardInterrupt: after everything was put in order; the same call goes on.
    """
    name = experiment.name if isinstance(experiment, Experiment) else Path(experiment).stem
    home = place_study(study, name, folder)
    job = _check(experiment, home, data_dir, device, _settle_cluster(ray, track, name))
    watcher = watcher or Watcher.for_terminal()
    watcher.loggers = make_loggers(track, home.folder)
    with home.drive(take_over=take_over) as driven:
        drop_unfinished(home.folder)
        ledgers = _open_ledgers(driven, home, job, command or _command())
        executor = _make_executor(job, ledgers[0], workers, watcher)
        _run(job, home.folder, *ledgers, executor, watcher)
        view = view_of(home, *ledgers)
        _note_fidelities(view, ledgers[1])
        return Outcome(view, home.folder, write_report(view, home.folder / "report", home.folder / ANALYSIS))


def _note_fidelities(view: StudyView, confirmed: Ledger) -> None:
    """Keep how well each length of training ranked what was confirmed: what is searched next may learn from it."""
    fidelities = fidelities_of(view, summarise_confirm(view))
    confirmed.set_attribute("fidelities", [asdict(fidelity) for fidelity in fidelities])


def _settle_cluster(
    ray: ray_cluster.RaySettings | None, track: Sequence[Tracker], name: str
) -> ray_cluster.RaySettings | None:
    """Return the cluster's settings with the callbacks of the trackers that come from Ray. Raises InputError."""
    if ray is not None:
        ray.check_reachable()
        ray_cluster.prepare(ray.address)
        return replace(ray, callbacks=[*ray.callbacks, *make_callbacks(track, name)])
    if wrong := [tracker for tracker in track if tracker != Tracker.TENSORBOARD]:
        raise InputError(f"`--track {wrong[0]}` comes from Ray's callbacks, and needs `--executor ray`")
    return None


@dataclass(frozen=True)
class _Job:
    """A search in which no mistake was found."""

    experiment: Experiment
    task: TrialConfig
    baselines: Sequence[tuple[str, Architecture]]
    plugins: Sequence[Plugin]
    device: str
    ray: ray_cluster.RaySettings | None
    memory_limit: MemoryLimit | None


def _check(
    experiment: str | Experiment,
    home: StudyHome,
    data_dir: str | None,
    device: str,
    ray: ray_cluster.RaySettings | None,
) -> _Job:
    """Find everything that a user may have got wrong, before anything is written. Raises InputError."""
    known = home.facts()
    require_plugins(home.shown, known)
    loaded = experiment if isinstance(experiment, Experiment) else load_experiment(experiment)
    loaded = settle(loaded, known, deterministic=ray is None)
    task = _trial_config(loaded, data_dir, device)
    _refuse_changes(home.shown, known, loaded)
    refuse_changed_plugins(home.shown, known)
    plugins = plugins_of_space(loaded.space)
    _check_data(loaded, task)
    baselines = make_baselines(loaded.space, loaded.config.search.random_baselines, loaded.config.search.seed)
    room_in(loaded.config.confirm, len(baselines))  # refuses a budget that cannot be enough
    if ray is None:
        check_graphs(task.train, pick_device(_devices(device)[0]))
    return _Job(loaded, task, baselines, plugins, device, ray, memory_limit_of(loaded, _devices(device)[0]))


def _make_executor(job: _Job, ledger: Ledger, workers: int | None, watcher: Watcher) -> Executor:
    experiment = job.experiment
    resources, asked = experiment.config.resources, experiment.config.search.workers
    if job.ray is not None:
        return ray_cluster.make_executor(
            job.ray, resources, workers or (asked if isinstance(asked, int) else None), job.device
        )
    devices = _devices(job.device)
    num_workers = workers or settle_workers(experiment, ledger, job.task, devices, watcher.say)
    pool: LocalPool[Any, Any] = LocalPool(num_workers, run_task, threads_per_worker=max(1, int(resources.cpu)))
    return LocalExecutor(pool, devices)


def _run(job: _Job, folder: Path, ledger: Ledger, confirmed: Ledger, executor: Executor, watcher: Watcher) -> None:
    """Train what is to be trained, the search first, then the confirmation."""
    experiment, config = job.experiment, job.experiment.config
    proposer = Proposer(ledger, experiment.space, _plan(experiment), job.memory_limit)
    with executor, watcher:
        watcher.begin_search(experiment, ledger, executor)
        stopping, in_order = _early_stopping(experiment, ledger, proposer), bool(config.search.deterministic)
        rules = Rules(config.keep, config.search.time_limit)
        executor.run(
            Execution(ledger, proposer.next, folder, job.task, rules, watcher, in_order=in_order, stopping=stopping)
        )
        note_controls(ledger, confirmed, config, experiment.space)
        while queue_confirmations(ledger, confirmed, config):
            watcher.begin_confirm(confirmed)
            take = confirmed.take
            executor.run(Execution(confirmed, take, folder, job.task, rules, watcher, in_order=False, confirm=True))


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
            f"Only description, data.dir, search.workers, search.time_limit, resources, confirm, keep and a raised "
            f"search.trials may change. Undo the change, or start another study with --study DIR|URL"
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
    search.recover(in_order=bool(config.search.deterministic))
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
        deterministic=bool(search.deterministic),
        rungs=tuple(search.early_stopping.rungs) if search.early_stopping else (),
    )


def _early_stopping(experiment: Experiment, ledger: Ledger, proposer: Proposer) -> EarlyStopping | None:
    search = experiment.config.search
    if search.early_stopping is None:
        return None
    config = search.early_stopping
    rule = Rule(tuple(config.rungs), config.reduction_factor, config.let_live, search.seed, bool(search.deterministic))
    return EarlyStopping(ledger, rule, Expectation(ledger, experiment.space, proposer.results_before))


def _devices(device: str) -> list[str]:
    """Return the devices to spread trials over: every GPU for `auto` and `cuda`, else the one that is named."""
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [device]


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *without_passwords(sys.argv[1:])])
