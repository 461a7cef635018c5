"""Trials of segmentation, with the real host, pyramid and head."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces import Architecture, InputError
from trials import TrialConfig, TrialRecord, load_data, run_trial, split

HOST = {"name": "resnet20", "width": 0.5, "input": 16, "neck": "fpn", "head": "segment", "classes": 3}
PLACED = {"fpn/merge*": {"module": "aff", "reduction": 2}, "layer3.*/branch": {"module": "se", "reduction": 4}}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(placement: dict[str, Any] | None = None, **host: Any) -> Architecture:
    return Architecture.from_dict({"host": HOST | host, "placement": placement or {}})


def config(num_epochs: int = 1, **data: Any) -> TrialConfig:
    scenes = {"source": "scenes", "images": 48, "size": 16, "classes": 2, "validation": 16}
    train = {"epochs": num_epochs, "batch_size": 16, "lr": 0.1, "precision": "fp32"}
    return TrialConfig.model_validate({"data": scenes | data, "train": train, "device": "cpu", "test": True})


def test_a_pyramid_with_attention_learns_to_segment_scenes() -> None:
    how = config(8, images=240, validation=40)
    record = run_trial(make(PLACED), how, seed=0)
    assert record.reason is None
    dataset = load_data(how.data)
    _, held_out = split(dataset, 40, None, seed=0)
    shares = np.bincount(dataset.labels[held_out].flatten(), minlength=3) / dataset.labels[held_out].size
    # Background everywhere: its own share for its class, 0 for the shapes, all of which occur.
    everywhere = shares[0] / np.count_nonzero(shares)
    assert record.miou is not None
    assert record.miou > everywhere + 0.1
    assert record.loss is not None
    assert record.loss < -sum(share * np.log(share) for share in shares)  # knows more than how frequent each class is


def test_a_record_of_a_segmentation_holds_what_was_measured() -> None:
    record = run_trial(make(), config(2), seed=1)
    assert [result.miou for result in record.history][-1] == record.miou
    assert (record.accuracy, record.loss) == (record.history[-1].accuracy, record.history[-1].loss)
    assert record.miou_by_size is not None
    assert list(record.miou_by_size) == ["small", "medium", "large"]
    assert record.test_miou is not None
    assert (record.split, record.num_train, record.num_validation, record.num_test) == ("validation", 32, 16, 12)
    assert TrialRecord.from_dict(json.loads(json.dumps(record.to_dict(), allow_nan=False))) == record


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits(precision: str) -> None:
    how = config().model_copy(update={"train": config().train.model_copy(update={"precision": precision})})
    first, again = (run_trial(make(PLACED), how, seed=2) for _ in range(2))
    assert first.history[0].train_loss == again.history[0].train_loss
    assert (first.miou, first.loss, first.test_miou) == (again.miou, again.loss, again.test_miou)


def test_the_aff_papers_resnet_with_a_pyramid_segments_scenes() -> None:
    record = run_trial(make(PLACED, name="aff_resnet20_b3", width=0.125), config(), seed=0)
    assert (record.status, record.reason) == ("complete", None)
    assert record.miou is not None
    assert 0 < record.miou < 1


@pytest.mark.parametrize(
    ("host", "data", "message"),
    [
        ({"head": "classify"}, {}, "`head: classify`, but each pixel .* give `neck: fpn, head: segment`"),
        ({"head": "classify", "neck": None}, {}, "`head: classify`, but each pixel of these images has a class"),
        ({"head": "fasterrcnn", "input": 64}, {}, "`head: fasterrcnn`, which a trial does not train"),
        ({"classes": 2}, {}, r"`classes: 2`, but the images need `classes: 3` \(the classes are background, disc"),
        ({"input": 32}, {}, "`input: 32`, but the images need `input: 16`"),
        (
            {"classes": 10, "input": 8, "channels": 1},
            {"source": "digits", "images": None, "size": None, "classes": None},
            "`head: segment`, but these images have one class each",
        ),
    ],
)
def test_a_host_for_another_task_is_refused_before_training(
    host: dict[str, Any], data: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run_trial(make(**host), config(**data), seed=0)
