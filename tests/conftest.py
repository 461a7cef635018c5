"""What holds for all tests."""

import os

import torch


def pytest_configure() -> None:
    """Give each of several test processes one thread, so that they do not wait for each other's."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
