"""A network that learns in one process among others: steps, their averages, and all that they depend on.

Gradients are averaged over the processes (torch's DistributedDataParallel), after the last part of each batch only.
Batch norms see a part at a time, and each process has running statistics of its own; before the network is scored or
saved, they are averaged over the processes. Each process sees other images, so that the statistics of the first alone
would be those of a fraction of what was seen; their mean over processes is what the running mean over the parts of one
process estimates too.
"""

import inspect
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from search_spaces import InputError
from trials.devices import Precision
from trials.parameter_groups import FACTOR, parameter_groups
from trials.retrain.place import Place
from trials.retrain.recipe import OptimizerConfig, Recipe
from trials.retrain.task import Task
from trials.weight_average import WeightAverage


class Learner:
    """Trains one network in place, a step at a time.

    Args:
        model: untrained, on the CPU, the same in every process.
        task: gives the loss.
        recipe: how to train.
        place: of this process.
        precision: of forward and backward pass.
        placed: names of the parameters that `attention_lr` is for.
        compiled: whether forward and backward pass are compiled.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task[Any],
        recipe: Recipe,
        place: Place,
        precision: Precision,
        *,
        placed: Collection[str] = (),
        compiled: bool = False,
    ) -> None:
        self._task, self._recipe, self._place, self._precision = task, recipe, place, precision
        self.model = moved(model, recipe, place)
        """The network that is trained, bare."""
        self._average = None if recipe.ema is None else WeightAverage(self.model, recipe.ema.decay)
        self._optimizer = _optimizer(self.model, recipe.optimizer, placed)
        forward = cast(nn.Module, torch.compile(self.model, dynamic=False)) if compiled else self.model
        self._forward = forward if place.world_size == 1 else _distributed(forward, place)
        self._num_steps = 0

    @property
    def scored(self) -> nn.Module:
        """The network to score and save: the one that is trained, or with `ema` the average. See `synchronise`."""
        return self.model if self._average is None else self._average.model

    def step(self, batches: Sequence[Any] | Iterator[Any], num_parts: int, lr: float) -> Tensor:
        """Learn from the parts of a batch that fall to this process; return their mean loss, on the device."""
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group[FACTOR]
        self.model.train()
        self._optimizer.zero_grad(set_to_none=True)
        losses = []
        for number, batch in enumerate(batches, 1):
            with self._alone(number < num_parts):
                with torch.autocast(self._place.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
                    loss = self._task.loss(self._forward, batch) / num_parts
                loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        if self._recipe.optimizer.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._recipe.optimizer.clip_norm)
        self._optimizer.step()
        self._num_steps += 1
        if self._average is not None and self._recipe.ema and self._num_steps % self._recipe.ema.every == 0:
            self._average.update()
        return torch.stack(losses).sum()

    def synchronise(self) -> None:
        """Average the running statistics over the processes, of the average of the weights too."""
        if self._place.world_size == 1:
            return
        for model in self._models():  # in the same order in every process
            buffers = _statistics(model)
            if not buffers:
                continue
            means = self._place.add_up(torch.cat([buffer.flatten() for buffer in buffers])) / self._place.world_size
            for buffer, mean in zip(buffers, torch.split(means, [buffer.numel() for buffer in buffers]), strict=True):
                buffer.copy_(mean.reshape(buffer.shape))

    def state(self) -> dict[str, Any]:
        """Return all that the next steps depend on; call it in all processes.

        Parameters and what the optimiser keeps are the same everywhere. What is not (running statistics, random
        numbers) comes from every process, in the order of ranks.
        """
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": None if self._average is None else self._average.state(),
            "num_steps": self._num_steps,
            "own": [
                torch.frombuffer(bytearray(data), dtype=torch.uint8)
                for data in self._place.gather_bytes(_packed(self._own()))
            ],
        }

    def restore(self, state: Mapping[str, Any]) -> bool:
        """Go on from a `state`; return whether it was of as many processes as now.

        If it was not, running statistics are averaged, and the random numbers of dropout and the like go on as they
        are here.
        """
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.restore(state["average"])
        self._num_steps = state["num_steps"]
        owns = [_unpacked(data) for data in state["own"]]
        if len(owns) == self._place.world_size:
            self._take(owns[self._place.rank])
            return True
        for number, model in enumerate(self._models()):
            for position, buffer in enumerate(_statistics(model)):
                buffer.copy_(torch.stack([own["statistics"][number][position] for own in owns]).mean(0))
        return False

    def _models(self) -> list[nn.Module]:
        return [self.model] if self._average is None else [self.model, self._average.model]

    def _own(self) -> dict[str, Any]:
        device = self._place.device
        return {
            "statistics": [[buffer.cpu() for buffer in _statistics(model)] for model in self._models()],
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def _take(self, own: Mapping[str, Any]) -> None:
        for model, kept in zip(self._models(), own["statistics"], strict=True):
            for buffer, value in zip(_statistics(model), kept, strict=True):
                buffer.copy_(value)
        torch.set_rng_state(own["random"])
        if own["cuda_random"] is not None and self._place.device.type == "cuda":
            torch.cuda.set_rng_state(own["cuda_random"], self._place.device)

    def _alone(self, has_more: bool) -> Any:
        """Keep gradients in this process as long as the batch has more parts."""
        if has_more and isinstance(self._forward, DistributedDataParallel):
            return self._forward.no_sync()
        return nullcontext()


def moved(model: nn.Module, recipe: Recipe, place: Place) -> nn.Module:
    """Return a network on the device, laid out as the recipe says. Raises InputError."""
    if recipe.sync_batch_norm:
        if place.device.type != "cuda":
            raise InputError("`sync_batch_norm: true` needs CUDA devices; leave it out on a CPU")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    model = model.to(place.device)
    return model.to(memory_format=torch.channels_last) if recipe.channels_last else model


def _distributed(model: nn.Module, place: Place) -> DistributedDataParallel:
    device_ids = [place.device] if place.device.type == "cuda" else None
    # Buffers are averaged where they matter; sending those of the first process round at each step loses the others.
    known = inspect.signature(DistributedDataParallel).parameters
    own_buffers: dict[str, Any] = {
        "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False
    }
    return DistributedDataParallel(model, device_ids, gradient_as_bucket_view=True, **own_buffers)


def _optimizer(model: nn.Module, config: OptimizerConfig, placed: Collection[str]) -> torch.optim.Optimizer:
    groups = parameter_groups(
        model,
        placed,
        weight_decay=config.weight_decay,
        norm_weight_decay=config.norm_weight_decay,
        attention_lr=config.attention_lr,
    )
    if config.kind == "adagrad":
        return torch.optim.Adagrad(groups, lr=config.lr)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=True)


def _statistics(model: nn.Module) -> list[Tensor]:
    """Return the buffers that differ between processes: what is averaged, not what is counted."""
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def _packed(own: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(own), buffer)
    return buffer.getvalue()


def _unpacked(data: Tensor) -> dict[str, Any]:
    return dict(torch.load(io.BytesIO(data.numpy().tobytes()), map_location="cpu", weights_only=True))
