"""Trained weights in a study's folder: of every confirmed network, and of the search's front; and checkpoints."""

from pathlib import Path

from nas.study import Ledger
from search_spaces import Architecture
from trials.checkpoint import running_path


def weights_path(folder: Path, architecture: Architecture, seed: int, epochs: int) -> Path:
    """Return where the weights of one training are kept."""
    return folder / "weights" / f"{architecture.id}-seed{seed}-epochs{epochs}.safetensors"


def checkpoint_path(folder: Path, architecture: Architecture, seed: int) -> Path:
    """Return where a training keeps what it goes on from, after a rung or an interruption."""
    return folder / "checkpoints" / f"{architecture.id}-seed{seed}.pt"


def drop_checkpoints(folder: Path, ledger: Ledger) -> None:
    """Delete the checkpoints of trials that are over."""
    kept = {checkpoint_path(folder, p.architecture, p.seed) for p in ledger.unfinished()}
    kept |= {running_path(path) for path in kept}
    for path in (folder / "checkpoints").glob("*.pt*"):
        if path not in kept:
            path.unlink(missing_ok=True)


def keep_front(folder: Path, ledger: Ledger) -> None:
    """Delete the weights of what the front of a ledger's complete trials has left behind, but not a baseline's."""
    for trial in ledger.front.left_behind():
        if trial.user_attrs["role"] == "proposal":
            attrs = trial.user_attrs
            weights_path(folder, ledger.architecture(trial), attrs["seed"], attrs["epochs"]).unlink(missing_ok=True)
