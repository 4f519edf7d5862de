"""Whether PyTorch's versions of the networks are the networks that ours are."""

import numpy as np
import pytest
import torch

from monuseg.models.shared.registry import architecture
from tests.benchmarks import pytorch_networks
from tests.benchmarks.sides import CLASSES, NETWORKS, SIZES, params_of


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("network", NETWORKS)
def test_as_many_parameters_and_pixels(network: str, size: str) -> None:
    params = params_of(network, size)
    theirs = pytorch_networks.NETWORKS[network](params, CLASSES).eval()
    ours = architecture(network).build(params, CLASSES)
    count = sum(variable.numel() for variable in theirs.parameters())
    assert count == sum(int(np.prod(variable.shape)) for variable in ours.trainable_variables)
    with torch.inference_mode():
        assert theirs(torch.zeros(1, 3, 64, 96)).shape == (1, CLASSES, 64, 96)
