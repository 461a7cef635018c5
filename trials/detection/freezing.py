"""Which parts of a backbone are not trained.

torchvision and Detectron2 freeze a pretrained backbone's stem, first stage and all batch norms; MMDetection freezes
stem and first stage, and lets batch norms keep their statistics but learn their scales (`frozen_stages=1`,
`norm_eval=True`).
"""

from typing import Literal

from torch import fx, nn

from search_spaces import Architecture, InputError
from search_spaces.build import lay_out
from search_spaces.graphs.stages import find_stages
from search_spaces.networks import trace_host

BatchNorms = Literal["train", "keep", "freeze"]

_ATTENTION = "attention."


def freeze_stages(network: nn.Module, architecture: Architecture, num_stages: int, *, attention: bool) -> None:
    """Let no parameter be trained that the end of a stage depends on; those of later stages are.

    Args:
        network: what `architecture.build` returned, with a pyramid.
        architecture: of the network.
        num_stages: so many stages from the image on, the stem with the first; 0: all are trained.
        attention: freeze attention there too, which makes sense if its weights were loaded.

    Raises:
        InputError: the host has fewer stages.
    """
    host = architecture.host
    traced = network.get_submodule(host.traced_part)
    assert isinstance(traced, fx.GraphModule)
    for parameter in network.get_submodule(f"{host.traced_part}.body".lstrip(".")).parameters():
        parameter.requires_grad_(True)
    if not num_stages:
        return
    graph = trace_host(host)
    stages = find_stages(graph)
    if num_stages > len(stages):
        raise InputError(f"`frozen_stages: {num_stages}` is more than the {len(stages)} stages of {host.name}")
    end = lay_out(host, architecture.items).standing[stages[num_stages - 1].end.name]
    own = set(dict(graph.root.named_parameters()))
    for path in _paths_before(traced.graph, end):
        for name, parameter in _parameters_at(traced, path):
            # An attention module in the place of a convolution has parameters that the host does not.
            if attention or (name in own and not path.startswith(_ATTENTION)):
                parameter.requires_grad_(False)


def fixed_batch_norms(
    network: nn.Module, architecture: Architecture, how: BatchNorms, *, attention: bool
) -> list[nn.Module]:
    """Return the backbone's batch norms that are to stay in evaluation mode, of which `freeze` is not trained at all.

    Args:
        network: what `architecture.build` returned, with a pyramid.
        architecture: of the network.
        how: `train`: none. `keep`: statistics stay, scales and shifts are trained. `freeze`: both stay.
        attention: those of attention modules too, which makes sense if their weights were loaded.
    """
    if how == "train":
        return []
    traced = network.get_submodule(architecture.host.traced_part)
    own = {name for name, _ in trace_host(architecture.host).root.named_modules()}
    norms = [
        module
        for path, module in traced.named_modules()
        if isinstance(module, nn.BatchNorm2d) and (attention or path in own)
    ]
    for norm in norms:
        for parameter in norm.parameters(recurse=False):
            parameter.requires_grad_(parameter.requires_grad and how == "keep")
    return list(norms)


def _paths_before(graph: fx.Graph, end: str) -> set[str]:
    """Return the modules and parameters that a node depends on."""
    waiting = [next(node for node in graph.nodes if node.name == end)]
    seen: set[fx.Node] = set()
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += node.all_input_nodes
    return {str(node.target) for node in seen if node.op in ("call_module", "get_attr")}


def _parameters_at(traced: nn.Module, path: str) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters of a module, or the parameter itself, by their names in the traced part."""
    return [(name, value) for name, value in traced.named_parameters() if name == path or name.startswith(f"{path}.")]
