"""What Ray and Tune read from the environment when they are imported; what a user has set there stays."""

import os
import sys
from pathlib import Path

SETTINGS = {
    # Ctrl-C is the driver's affair, and the study is the only record.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # Nothing is said but by us.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # One after the other, workers would take minutes to be there; how many may wait is for our searcher to say.
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",
}


def prepare(address: str | None = None) -> None:
    """Set what is not set, before Ray is imported, to join the cluster at `address`."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    # Ray shows the token that this machine has to any cluster but one behind `ray://`, which then never answers.
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    has_token = "RAY_AUTH_TOKEN" in os.environ or token.is_file()
    if has_token and "ray" not in sys.modules and (address or "").startswith("ray://"):
        os.environ.setdefault("RAY_AUTH_MODE", "token")
