import torch
from torch import nn

from trials import measure_latency

CPU = torch.device("cpu")


def test_the_percentiles_are_in_order_and_the_repeats_bounded() -> None:
    latency = measure_latency(nn.Conv2d(3, 4, 3), (3, 8, 8), CPU, batch_size=2, warmup_s=0, budget_s=60, max_repeats=7)
    assert 0 < latency.p10_ms <= latency.median_ms <= latency.p90_ms
    assert (latency.repeats, latency.batch_size, latency.threads) == (7, 2, torch.get_num_threads())


def test_five_passes_are_timed_however_short_the_time() -> None:
    assert measure_latency(nn.Conv2d(3, 4, 3), (3, 8, 8), CPU, warmup_s=0, budget_s=0).repeats == 5


def test_the_network_runs_in_eval_mode_without_gradients_on_the_shape_given() -> None:
    seen = set()

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.add((self.training, torch.is_inference_mode_enabled(), tuple(x.shape)))
            return x

    model = Spy()
    measure_latency(model, (3, 8, 9), CPU, batch_size=4, warmup_s=0, budget_s=0)
    assert seen == {(False, True, (4, 3, 8, 9))}
    assert model.training
