"""Networks that are not the study's, small enough to be trained in a test."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

CLASSES = 3


class Bottleneck(nn.Module):
    """As in torchvision: 1 x 1, 3 x 3, 1 x 1, and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        return self.relu(y + (self.downsample(x) if self.downsample else x))


class ResNet50(nn.Module):
    """torchvision's, an eighth as wide and with fewer blocks."""

    def __init__(self, classes: int = CLASSES, channels: int = 1) -> None:
        super().__init__()
        self.inplanes = 8
        self.conv1 = nn.Conv2d(channels, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._stage(8, 2, 1)
        self.layer2 = self._stage(16, 2, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)

    def _stage(self, width: int, blocks: int, stride: int) -> nn.Sequential:
        stage = [Bottleneck(self.inplanes, width, stride)]
        self.inplanes = 4 * width
        stage += [Bottleneck(self.inplanes, width, 1) for _ in range(blocks - 1)]
        return nn.Sequential(*stage)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer2(self.layer1(x))), 1))


class Plain(nn.Module):
    """No BatchNorm, no linear layer, no repeated block; registered in another order than used."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(16, CLASSES, 1)
        self.norm = nn.GroupNorm(4, 16)
        self.second = nn.Conv2d(8, 16, 3, 2)
        self.first = nn.Conv2d(1, 8, 3, 2)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.second(torch.relu(self.first(x)))))
        x = self.dropout(x).view(len(x), -1).view_as(x)  # fails on images channels last
        return self.classifier(x).mean((2, 3))


class TwoHeaded(ResNet50):
    """Class and age."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = super().forward(x)
        return logits, logits[:, :1]


def monai_resnet() -> nn.Module:
    from monai.networks.nets import ResNet

    return ResNet(
        "bottleneck", [1, 1, 1, 1], [4, 4, 8, 8], 2, 1, conv1_t_stride=2, num_classes=CLASSES
    )


def densenet121() -> nn.Module:
    from monai.networks.nets import DenseNet121

    return DenseNet121(2, 1, CLASSES, init_features=8, growth_rate=4)


def vit() -> nn.Module:
    from monai.networks.nets import ViT

    return ViT(
        1, 32, 8, 16, 32, 3, 2, classification=True, num_classes=CLASSES, spatial_dims=2,
        post_activation=None,
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "monai_resnet": monai_resnet,
    "densenet121": densenet121,
    "vit": vit,
    "resnet50": ResNet50,
    "plain": Plain,
}
