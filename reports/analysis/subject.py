"""What is analysed: a trained network with the names of its sites and stages, and a look at any tensor inside it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from search_spaces import Architecture
from search_spaces.build import Placed, lay_out
from search_spaces.graphs.stages import find_stages
from search_spaces.networks import trace_host
from search_spaces.sites import Site, find_sites

Watch = Callable[[tuple[Any, ...], Any], None]
"""Given the inputs and the answer of a node whenever it has run."""


@dataclass(frozen=True)
class StageEnd:
    """The output of a stage, attention there included."""

    name: str
    node: str
    """Its name in the network's graph."""
    channels: int
    resolution: tuple[int, int]
    """Height and width at the host's input size, in pixels."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained classifier whose graph was edited; its network is in eval mode on one device."""

    architecture: Architecture
    network: fx.GraphModule
    title: str
    """What a reader calls it."""

    @staticmethod
    def of(architecture: Architecture, network: nn.Module, title: str, device: torch.device) -> "Subject":
        """Return the subject of a network that `architecture` built and that has its trained weights."""
        assert isinstance(network, fx.GraphModule), "analyses are of classifiers and of networks with a neck"
        return Subject(architecture, network.eval().to(device), title)

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(self.network.parameters()).device

    @cached_property
    def placed(self) -> tuple[Placed, ...]:
        """The calls of its attention modules, in network order."""
        order = {node.name: i for i, node in enumerate(self.network.graph.nodes)}
        return tuple(sorted(self._layout.placed, key=lambda placed: order[placed.call]))

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        """The host's sites by name."""
        return {site.name: site for site in find_sites(self.architecture.host)}

    @cached_property
    def stages(self) -> tuple[StageEnd, ...]:
        """The ends of its stages in network order; empty if the host has no blocks."""
        traced, standing = trace_host(self.architecture.host), self._layout.standing
        ends = []
        for stage in find_stages(traced):
            channels, height, width = traced.shapes[stage.end]
            ends.append(StageEnd(stage.name, standing[stage.end.name], channels, (height, width)))
        return tuple(ends)

    @cached_property
    def _layout(self) -> Any:
        return lay_out(self.architecture.host, self.architecture.items)

    @cached_property
    def names(self) -> Mapping[Placed, str]:
        """What each call is called: its site, with a number from the second module at the site on."""
        seen: Counter[str] = Counter()
        names = {}
        for placed in self.placed:
            seen[placed.site] += 1
            number = seen[placed.site]
            names[placed] = placed.site if number == 1 else f"{placed.site} #{number}"
        return names

    def module(self, placed: Placed) -> nn.Module:
        """Return the attention module of a call."""
        return self.network.get_submodule(placed.path)

    def look(
        self, x_BCHW: Tensor, watches: Mapping[str, Watch], answers: "Mapping[str, Answer] | None" = None
    ) -> Tensor:
        """Run the network without gradients, and return its answer.

        Args:
            x_BCHW: normalised images on its device.
            watches: from the names of nodes to what is told of them.
            answers: from the names of nodes to what is said in the place of their own answers.
        """
        with torch.no_grad():
            answer: Tensor = _Watched(self.network, watches, answers or {}).run(x_BCHW)
        return answer


Answer = Callable[[tuple[Any, ...], Any], Any]
"""From the inputs and the answer of a node to another answer."""


class _Watched(fx.Interpreter):
    """Runs a graph node by node, so that a module that several sites share is seen at each of them."""

    def __init__(self, network: fx.GraphModule, watches: Mapping[str, Watch], answers: Mapping[str, Answer]) -> None:
        super().__init__(network)
        self._watches, self._answers = watches, answers

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.name in self._answers:
            result = self._answers[n.name](self.fetch_args_kwargs_from_env(n)[0], result)
        if n.name in self._watches:
            self._watches[n.name](self.fetch_args_kwargs_from_env(n)[0], result)
        return result


@contextmanager
def last_answer(part: nn.Module) -> Iterator[list[Tensor]]:
    """Return a list that holds what a part of a module answered when it was last called."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, answer: Tensor) -> None:
        kept[:] = [answer]

    hook = part.register_forward_hook(keep)
    try:
        yield kept
    finally:
        hook.remove()
