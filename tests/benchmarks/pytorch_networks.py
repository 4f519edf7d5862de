"""The three networks in PyTorch, as its users write them: what ours are timed against.

The same layers, so the same numbers of trainable parameters; bilinear upsampling is PyTorch's own.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from monuseg.models.deeplabv3plus import light, resnet50
from monuseg.models.deeplabv3plus.head import DECODER_CONVOLUTIONS, LOW_LEVEL_STRIDE
from monuseg.models.deeplabv3plus.params import Params as DeepLabParams
from monuseg.models.segnet.network import MULTIPLES
from monuseg.models.segnet.params import CONVOLUTIONS
from monuseg.models.segnet.params import Params as SegNetParams
from monuseg.models.unet.params import LEVELS
from monuseg.models.unet.params import Params as UNetParams


def convolution(
    inputs: int, filters: int, *, kernel: int = 3, stride: int = 1, rate: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, filters, kernel, stride, kernel // 2 * rate, rate, bias=False),
        nn.BatchNorm2d(filters, eps=1e-3, momentum=0.1),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def twice(inputs: int, filters: int) -> nn.Sequential:
    """Two convolutions."""
    return nn.Sequential(convolution(inputs, filters), convolution(filters, filters))


class UNet(nn.Module):
    """As `monuseg.models.unet`."""

    def __init__(self, params: UNetParams, classes: int) -> None:
        super().__init__()
        filters = [params.width * 2**level for level in range(LEVELS + 1)]
        self.down = nn.ModuleList(map(twice, [3, *filters], filters))
        self.upconvolution = nn.ModuleList(
            nn.ConvTranspose2d(below, above, 2, 2) for above, below in pairwise(filters)
        )
        self.up = nn.ModuleList(twice(2 * above, above) for above in filters[:-1])
        self.logits = nn.Conv2d(filters[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) to (batch, classes, height, width) logits."""
        skips = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in reversed(range(LEVELS)):
            x = self.up[level](torch.cat([skips[level], self.upconvolution[level](x)], 1))
        return self.logits(x)


class SegNet(nn.Module):
    """As `monuseg.models.segnet`."""

    def __init__(self, params: SegNetParams, classes: int) -> None:
        super().__init__()
        filters = [params.width * multiple for multiple in MULTIPLES[: params.levels]]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before = 3
        for level, count in enumerate(CONVOLUTIONS[: params.levels]):
            inside = [before, *[filters[level]] * count]
            self.down.append(nn.Sequential(*(convolution(a, b) for a, b in pairwise(inside))))
            # The last convolution leads to the filters of the level above; the first level has
            # the logits in its place.
            outside = [filters[level]] * count + ([filters[level - 1]] if level else [])
            self.up.append(nn.Sequential(*(convolution(a, b) for a, b in pairwise(outside))))
            before = filters[level]
        self.logits = nn.Conv2d(filters[0], classes, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) to (batch, classes, height, width) logits."""
        places = []
        for block in self.down:
            x, place = functional.max_pool2d(block(x), 2, return_indices=True)
            places.append(place)
        for block, place in zip(reversed(self.up), reversed(places), strict=True):
            x = block(functional.max_unpool2d(x, place, 2))
        return self.logits(x)


class Residual(nn.Module):
    """A basic block of the light encoder."""

    def __init__(self, inputs: int, filters: int, stride: int, rate: int, projected: bool) -> None:
        super().__init__()
        self.shortcut = (
            convolution(inputs, filters, kernel=1, stride=stride, relu=False)
            if projected
            else nn.Identity()
        )
        self.body = nn.Sequential(
            convolution(inputs, filters, stride=stride, rate=rate),
            convolution(filters, filters, rate=rate, relu=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of both ways."""
        return functional.relu(self.shortcut(x) + self.body(x))


class Light(nn.Module):
    """The light encoder at output stride 16."""

    def __init__(self, params: DeepLabParams) -> None:
        super().__init__()
        width = params.width
        self.stem = nn.Sequential(convolution(3, width, stride=2), convolution(width, width))
        self.stages = nn.ModuleList()
        before = width
        for multiple, (stride, rate) in zip(light.MULTIPLES, light.ATROUS[16], strict=True):
            filters = width * multiple
            blocks = [Residual(before, filters, stride, rate, projected=True)]
            blocks += [
                Residual(filters, filters, 1, rate, projected=False)
                for _ in range(light.BLOCKS - 1)
            ]
            self.stages.append(nn.Sequential(*blocks))
            before = filters
        self.channels = width, before

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features at strides 4 and 16."""
        return _first_and_last(self.stages, self.stem(x))


class Bottleneck(nn.Module):
    """A block of ResNet-50, with biases and its stride as in `keras.applications`."""

    def __init__(self, inputs: int, filters: int, stride: int, rate: int, projected: bool) -> None:
        super().__init__()
        outputs = resnet50.EXPANSION * filters
        self.shortcut = (
            biased(inputs, outputs, stride=stride, relu=False) if projected else nn.Identity()
        )
        self.body = nn.Sequential(
            biased(inputs, filters, stride=stride),
            biased(filters, filters, kernel=3, rate=rate),
            biased(filters, outputs, relu=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of both ways."""
        return functional.relu(self.shortcut(x) + self.body(x))


class ResNet50(nn.Module):
    """ResNet-50 without its classifier at output stride 16."""

    def __init__(self) -> None:
        super().__init__()
        before = 64
        self.stem = nn.Sequential(biased(3, before, kernel=7, stride=2), nn.MaxPool2d(3, 2, 1))
        self.stages = nn.ModuleList()
        for (_, count, filters), (stride, rate) in zip(
            resnet50.STAGES, resnet50.ATROUS[16], strict=True
        ):
            blocks = []
            for block in range(count):
                first = block == 0
                blocks.append(Bottleneck(before, filters, stride if first else 1, rate, first))
                before = resnet50.EXPANSION * filters
            self.stages.append(nn.Sequential(*blocks))
        self.channels = resnet50.EXPANSION * resnet50.STAGES[0][2], before

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features at strides 4 and 16."""
        return _first_and_last(self.stages, self.stem(x))


def biased(
    inputs: int, filters: int, *, kernel: int = 1, stride: int = 1, rate: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution with biases, batch normalisation, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, filters, kernel, stride, kernel // 2 * rate, rate),
        nn.BatchNorm2d(filters, eps=resnet50.EPSILON, momentum=0.1),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def _first_and_last(stages: nn.ModuleList, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    features = []
    for stage in stages:
        x = stage(x)
        features.append(x)
    return features[0], features[-1]


class DeepLabV3Plus(nn.Module):
    """As `monuseg.models.deeplabv3plus` at output stride 16, light encoder or ResNet-50."""

    def __init__(self, params: DeepLabParams, classes: int) -> None:
        super().__init__()
        aspp = params.aspp_filters
        self.encoder = Light(params) if params.encoder == "light" else ResNet50()
        early, before = self.encoder.channels
        self.image = convolution(before, aspp, kernel=1)
        self.point = convolution(before, aspp, kernel=1)
        self.rates = nn.ModuleList(convolution(before, aspp, rate=rate) for rate in params.rates)
        self.projection = convolution(aspp * (2 + len(params.rates)), aspp, kernel=1)
        self.low = convolution(early, params.low_level_filters, kernel=1)
        sizes = [
            aspp + params.low_level_filters,
            *[params.decoder_filters] * DECODER_CONVOLUTIONS,
        ]
        self.decoder = nn.Sequential(*(convolution(a, b) for a, b in pairwise(sizes)))
        self.logits = nn.Conv2d(sizes[-1], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) to (batch, classes, height, width) logits."""
        early, x = self.encoder(x)
        mean = self.image(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        branches = [mean, self.point(x), *(branch(x) for branch in self.rates)]
        x = self.projection(torch.cat(branches, 1))
        x = functional.interpolate(x, size=early.shape[2:], mode="bilinear")
        x = self.decoder(torch.cat([x, self.low(early)], 1))
        return functional.interpolate(
            self.logits(x), scale_factor=LOW_LEVEL_STRIDE, mode="bilinear"
        )


NETWORKS = {"unet": UNet, "segnet": SegNet, "deeplabv3plus": DeepLabV3Plus}
