"""How the weights of the papers' own hosts are drawn."""

from torch import nn


def draw_as_he(network: nn.Module) -> None:
    """Draw every convolution from N(0, 2 / fan-out), as He et al. (2015, arXiv:1502.01852) for rectifiers.

    The released code of Wide-ResNet, pre-activation ResNet, ResNeXt and DenseNet for CIFAR does so. Biases of
    convolutions and linear layers start at 0.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def draw_as_glorot(network: nn.Module) -> None:
    """Draw convolutions and linear layers uniformly with variance 2 / (fan-in + fan-out); biases start at 0.

    Glorot and Bengio, 2010, Understanding the difficulty of training deep feedforward neural networks.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
