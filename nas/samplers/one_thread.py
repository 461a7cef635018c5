"""Linear algebra in one thread."""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """Hold numpy to one thread: several wait for each other longer than small matrices take."""
    limited: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limited
