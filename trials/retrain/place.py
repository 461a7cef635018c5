"""Where one process of a training stands among the others: its rank, its device, and what they tell each other."""

import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True)
class Place:
    """One process among `world_size`; of a training in one process the only one."""

    device: torch.device
    """That it computes on."""
    rank: int = 0
    world_size: int = 1
    on_cpu: "dist.ProcessGroup | None" = None
    """What tensors on the CPU travel by; None if there is one process."""

    @staticmethod
    def current(device: torch.device) -> "Place":
        """Return this process's place among those that `torch.distributed` has joined, if it has; call in all of them.

        Words between processes go by gloo, whatever gradients go by: they never wait for a device.
        """
        if not dist.is_available() or not dist.is_initialized():
            return Place(device)
        group = dist.new_group(backend="gloo")
        assert isinstance(group, dist.ProcessGroup)
        return Place(device, dist.get_rank(), dist.get_world_size(), group)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def add_up(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes, in float64, on the CPU."""
        total = values.detach().to("cpu", torch.float64)
        if self.world_size > 1:
            dist.all_reduce(total, group=self.on_cpu)
        return total

    def any_of(self, *flags: bool) -> tuple[bool, ...]:
        """Return of each flag whether it is set in any process."""
        if self.world_size == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(raised, dist.ReduceOp.MAX, group=self.on_cpu)
        return tuple(bool(flag) for flag in raised.tolist())

    def gather_bytes(self, data: bytes) -> list[bytes]:
        """Return the bytes of every process, in the order of ranks."""
        if self.world_size == 1:
            return [data]
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        dist.all_gather(sizes, torch.tensor([len(data)]), group=self.on_cpu)
        longest = max(int(size) for size in sizes)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else padded[:0]
        held = [torch.empty_like(padded) for _ in range(self.world_size)]
        dist.all_gather(held, padded, group=self.on_cpu)
        return [bytes(each[: int(size)].numpy()) for each, size in zip(held, sizes, strict=True)]

    def gather_json(self, value: Any) -> list[Any]:
        """Return a value of every process, in the order of ranks; it travels as JSON, and nothing is unpickled."""
        return [json.loads(data) for data in self.gather_bytes(json.dumps(value).encode())]

    def share(self, num: int) -> range:
        """Return the part of `num` things that falls to this process: every `world_size`-th."""
        return range(self.rank, num, self.world_size)

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            dist.barrier(group=self.on_cpu)
