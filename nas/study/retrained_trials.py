"""What was trained in full, as a third Optuna study beside the search and its confirmation.

One trial for each training that has come to its end, written at once; who joins it twice is one trial.
"""

from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.study.home import RETRAINED, StudyHome
from nas.study.quiet import quiet_optuna
from reports.view import Retraining
from search_spaces import Architecture
from trials.retrain import RetrainRecord


def join(home: StudyHome, retraining: Retraining) -> bool:
    """Add a training to its study; return whether it was not there yet.

    Raises:
        InputError: another process drives the study.
    """
    record = retraining.record
    with home.drive(take_over=False) as driven:
        storage, study_id = driven.storage, _study_id(driven.storage, home)
        trials = storage.get_all_trials(study_id, deepcopy=False)
        before = next((trial for trial in trials if _key(_read(trial)) == _key(retraining)), None)
        if before is not None and before.state.is_finished():
            return False
        made = create_trial(state=TrialState.RUNNING, user_attrs=_attributes(retraining))
        trial_id = storage.create_new_trial(study_id, made) if before is None else before._trial_id
        storage.set_trial_state_values(
            trial_id, TrialState.COMPLETE, [record.score if record.maximise else -record.score]
        )
    return before is None


def _study_id(storage: BaseStorage, home: StudyHome) -> int:
    name = home.optuna_name(RETRAINED)
    with quiet_optuna():
        study = optuna.create_study(
            study_name=name, storage=storage, sampler=RandomSampler(), direction="maximize", load_if_exists=True
        )
        if study.metric_names is None:
            study.set_metric_names(["score"])
    return storage.get_study_id_from_name(name)


def _attributes(retraining: Retraining) -> dict[str, Any]:
    of, record = retraining.of, retraining.record
    return {
        "id": of.id,
        "hash": of.hash,
        "architecture": of.to_dict(),
        "recipe": record.recipe_name,
        "metric": record.metric,
        "seed": record.seed,
        "record": record.to_dict(),
    }


def read_retrained(storage: BaseStorage, home: StudyHome) -> tuple[Retraining, ...]:
    """Return what has joined a study, in that order."""
    try:
        study_id = storage.get_study_id_from_name(home.optuna_name(RETRAINED))
    except KeyError:
        return ()
    return tuple(_read(trial) for trial in storage.get_all_trials(study_id, deepcopy=False))


def _read(trial: FrozenTrial) -> Retraining:
    attributes = trial.user_attrs
    of = Architecture.restore(attributes["architecture"], attributes["hash"])
    return Retraining(of, RetrainRecord.from_dict(attributes["record"]))


def _key(retraining: Retraining) -> tuple[object, ...]:
    """Return what two entries of one training have in common."""
    record = retraining.record
    return retraining.of.hash, record.recipe_hash, record.data_sha256, record.split, record.seed, record.started_at
