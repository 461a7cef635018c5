"""The record of a training that ended before it could write one itself."""

from datetime import UTC, datetime

from search_spaces import Architecture, measure_cost
from trials.failure import Failure
from trials.record import TrialRecord


def unmeasured(
    architecture: Architecture, seed: int, epochs: int, failure: Failure, reason: str, traceback: str | None = None
) -> TrialRecord:
    """Return a failed record that knows nothing but what was to be trained, and why it was not.

    Args:
        architecture: what was to be trained.
        seed: with which seed.
        epochs: for how long.
        failure: of what kind.
        reason: in one line.
        traceback: where it stood, if that is known.
    """
    cost = measure_cost(architecture)
    return TrialRecord(
        architecture=architecture.to_dict(),
        architecture_id=architecture.id,
        architecture_hash=architecture.hash,
        seed=seed,
        epochs=epochs,
        status="failed",
        reason=reason,
        traceback=traceback,
        failure=failure,
        params=cost.params,
        macs=cost.macs,
        wall_s=0.0,
        images_per_s=None,
        memory_bytes=None,
        memory_method="the training did not get so far",
        device="unknown: the training did not get so far",
        precision="fp32",
        num_train=0,
        num_validation=0,
        num_test=0,
        data_sha256="",
        versions={},
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
