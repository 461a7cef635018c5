"""Trained weights in a study's folder: of every confirmed network, and of the search's front; and checkpoints."""

from pathlib import Path

from nas.experiment import KeepConfig
from nas.ray_cluster.settings import TOKEN
from nas.study.ledger import Ledger
from search_spaces import Architecture
from trials.checkpoint import running_path
from trials.whole_file import final_name


def weights_path(folder: Path, architecture: Architecture, seed: int, epochs: int) -> Path:
    """Return where the weights of one training are kept."""
    return _weights_path(folder, architecture.id, seed, epochs)


def _weights_path(folder: Path, architecture_id: str, seed: int, epochs: int) -> Path:
    return folder / "weights" / f"{architecture_id}-seed{seed}-epochs{epochs}.safetensors"


def checkpoint_path(folder: Path, architecture: Architecture, seed: int) -> Path:
    """Return where a training keeps what it goes on from, after a rung or an interruption."""
    return folder / "checkpoints" / f"{architecture.id}-seed{seed}.pt"


def drop_checkpoints(folder: Path, ledger: Ledger, keep: KeepConfig) -> None:
    """Delete the checkpoints of trials that are over, unless all are to be kept.

    What a trial that is not over is just writing is left alone.
    """
    kept = {checkpoint_path(folder, p.architecture, p.seed) for p in ledger.unfinished()}
    kept |= {running_path(path) for path in kept}
    names = {path.name for path in kept}
    keeps_all = keep.checkpoints == "all"
    for path in (folder / "checkpoints").glob("*.pt*"):
        unfinished_of = final_name(path)
        if (unfinished_of or path.name) not in names and (unfinished_of or not keeps_all):
            path.unlink(missing_ok=True)


def drop_unfinished(folder: Path) -> None:
    """Delete what processes that were killed left half-written in a study's folder; call it before any works there."""
    written = [*(folder / "checkpoints").glob(".*"), *(folder / "weights").glob(".*")]
    for path in (*folder.glob(f"{TOKEN}*"), *folder.glob(f".{TOKEN}*"), *filter(final_name, written)):
        path.unlink(missing_ok=True)


def keep_front(folder: Path, ledger: Ledger, keep: KeepConfig) -> None:
    """Delete the weights of what the front of a ledger's complete trials has left behind, but not a baseline's.

    Args:
        folder: the study's.
        ledger: the search.
        keep: with `weights: all` nothing is deleted, with `none` all weights that are there.
    """
    if keep.weights == "none":
        for path in (folder / "weights").glob("*.safetensors"):
            path.unlink(missing_ok=True)
        return
    for trial in ledger.front.left_behind():
        if trial.user_attrs["role"] == "proposal" and keep.weights == "front":
            attrs = trial.user_attrs
            # By the id that is noted: a search that goes on would otherwise read every architecture.
            _weights_path(folder, attrs["id"], attrs["seed"], attrs["epochs"]).unlink(missing_ok=True)
