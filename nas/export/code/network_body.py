"""The class of a whole network: its constructor, and its forward in the parts that timm's models have."""

from collections.abc import Sequence

from torch import fx, nn

from nas.export.code.classes import init_lines
from nas.export.code.forward import reads
from nas.export.code.network import Written
from nas.export.code.outline import Outline
from nas.export.code.slices import Slice
from nas.export.code.values import Arg, Call, Name, Value, render


def plain_body(written: Written, classes: int) -> str:
    """Return the class of a network that is no classifier of images: a constructor and a forward."""
    forward = written.writer.write()
    lines = [
        *init_lines((), written.children),
        f"        self.num_classes = {classes}",
        "",
        "    def forward(self, x: Tensor) -> Tensor:",
        '        """Return the logits of each pixel (N, K, H, W) of normalised images (N, C, H, W)."""'
        if classes
        else "",
        *(f"        {line}" for line in forward.lines),
    ]
    return "\n".join(lines)


def classifier_body(written: Written, parts: Outline, classes: int, network: fx.GraphModule) -> str:
    """Return the class of a classifier: its constructor, and its forward in the parts that timm's models have."""
    path = str(parts.classifier.target)
    access = written.tree.reach(path, "")
    given = network.get_submodule(path)
    features = given.in_features if isinstance(given, nn.Linear) else given.in_channels
    lines = [
        *init_lines([f"num_classes: int = {classes}"], written.children),
        "        self.num_classes = num_classes",
        f"        self.num_features = {features}",
        "",
        *_forward_lines(written, parts),
        "",
        "    def get_classifier(self) -> nn.Module:",
        '        """Return the layer that gives the logits."""',
        f"        return {access}",
        "",
        "    def reset_classifier(self, num_classes: int) -> None:",
        '        """Put an untrained layer for other classes in its place; 0: `forward` returns what it would read."""',
        "        if num_classes:",
        f"            {access} = {render(written.calls[path], 12, 15 + len(access))}",
        "        else:",
        f"            {access} = nn.Identity()",
        "        self.num_classes = num_classes",
    ]
    return "\n".join(lines)


def with_outputs(layer: Value) -> Value:
    """Return a layer's call with `num_classes` for the number of its outputs."""
    assert isinstance(layer, Call)
    first, _, *rest = layer.args
    return Call(layer.function, (first, Arg(Name("num_classes")), *rest))


def _forward_lines(written: Written, parts: Outline) -> list[str]:
    writer, items = written.writer, written.piece.items
    stages = [stage.node for stage in parts.stages]
    wanted = [parts.features, *stages]
    needed = _needed(items, wanted)
    body = [item for item in items if id(item) in needed]
    head = [item for item in items if id(item) not in needed]
    at = next(number for number, item in enumerate(head) if item is parts.classifier)
    state = writer.start()
    lines, (features, *maps) = writer.statements(body, state, wanted)
    shown = [render(each, 0, -10_000) for each in [features, *maps]]
    written_lines = [
        "    def forward_stages(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:",
        '        """Return the last feature map, and the maps at the ends of the stages, the finest first."""',
        *(f"        {line}" for line in lines),
        f"        return {shown[0]}, [{', '.join(shown[1:])}]",
        "",
        "    def forward_features(self, x: Tensor) -> Tensor:",
        '        """Return the last feature map, (N, C, H, W)."""',
        "        return self.forward_stages(x)[0]",
        "",
    ]
    state = writer.start()
    state.values = {parts.features: Name("x")}
    read = parts.classifier.all_input_nodes[0]
    before, (given,) = writer.statements(head[:at], state, [read])
    if (text := render(given, 8, 12)) != "x":
        before.append(f"x = {text}")
    state.values = {read: Name("x")}
    after, (answer,) = writer.statements(head[at:], state, written.piece.outputs)
    written_lines += [
        "    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:",
        '        """Return the logits (N, K) of a feature map; with `pre_logits` what the classifier reads."""',
        *(f"        {line}" for line in before),
        "        if pre_logits:",
        "            return x",
        *(f"        {line}" for line in after),
        f"        return {render(answer, 8, 15)}",
        "",
        "    def forward(self, x: Tensor) -> Tensor:",
        '        """Return the logits (N, K) of normalised images (N, C, H, W)."""',
        "        return self.forward_head(self.forward_features(x))",
    ]
    return written_lines


def _needed(items: Sequence["fx.Node | Slice"], wanted: Sequence[fx.Node]) -> set[int]:
    """Return the items, by their `id`, that compute some nodes."""
    makes = {node: item for item in items for node in (item.outputs if isinstance(item, Slice) else [item])}
    found: set[int] = set()
    waiting = [makes[node] for node in wanted if node in makes]
    while waiting:
        item = waiting.pop()
        if id(item) not in found:
            found.add(id(item))
            waiting += [makes[node] for node in reads(item) if node in makes]
    return found
