"""Trained weights in a study's folder: of every confirmed network, and of the search's front."""

from pathlib import Path

from nas.study import Ledger
from reports.objectives import to_minimise
from reports.pareto import nondominated
from search_spaces import Architecture


def weights_path(folder: Path, architecture: Architecture, seed: int, epochs: int) -> Path:
    """Return where the weights of one training are kept."""
    return folder / "weights" / f"{architecture.id}-seed{seed}-epochs{epochs}.safetensors"


def keep_front(folder: Path, ledger: Ledger) -> None:
    """Delete the weights of what the front of a ledger's complete trials has left behind, but not a baseline's."""
    complete = [trial for trial in ledger.trials() if trial.state.name == "COMPLETE"]
    if not complete:
        return
    front = nondominated(to_minimise([trial.values for trial in complete], ledger.objectives))
    for trial, on_front in zip(complete, front, strict=True):
        if not on_front and trial.user_attrs["role"] == "proposal":
            attrs = trial.user_attrs
            weights_path(folder, ledger.architecture(trial), attrs["seed"], attrs["epochs"]).unlink(missing_ok=True)
