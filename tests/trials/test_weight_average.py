import pytest
import torch
from torch import nn

from trials.weight_average import WeightAverage


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_the_average_follows_its_formula_for_weights_and_running_means(decay: float) -> None:
    torch.manual_seed(0)
    model = make_model()
    average = WeightAverage(model, decay)
    expected = {name: value.double() for name, value in model.state_dict().items()}
    for step in range(1, 6):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(torch.randn(8, 3))
        d = min(decay, (1 + step) / (10 + step))
        expected = {name: d * expected[name] + (1 - d) * value.double() for name, value in model.state_dict().items()}
        average.update()
    found = average.model.state_dict()
    assert found.pop("1.num_batches_tracked") == 5
    for name, value in found.items():
        torch.testing.assert_close(value.double(), expected[name])


def test_the_trained_network_is_not_changed_until_it_is_given_the_average() -> None:
    model = make_model()
    average = WeightAverage(model, 0.9)
    nn.init.ones_(model[0].weight)
    average.update()
    assert torch.equal(model[0].weight, torch.ones(4, 3))
    average.copy_to(model)
    assert not torch.equal(model[0].weight, torch.ones(4, 3))
    assert torch.equal(model[0].weight, average.model[0].weight)
    assert model[0].weight.requires_grad
