"""PyTorch's side of run.py --peers: the nets of nets/*.prototxt, with the same data, optimiser and threads.

usage: torch_peer.py NET STEPS VARIANT THREADS [--inference] [--bf16] [--batch N]
       torch_peer.py NET 0 export 1 --batch N --output FILE.onnx

VARIANT is eager, channels_last or compile. With --bf16 training runs under autocast, and a net for inference is
converted whole. With `export` it writes the net for onnx_peer.py.
"""

import argparse

import torch
import torch.nn as nn
from steps import measure
from torch.nn import functional


class LRN(nn.Module):
    def forward(self, x):
        # In float32, because PyTorch has no bf16 for it.
        return functional.local_response_norm(x.float(), 5, 1e-4, 0.75, 1.0).to(x.dtype)


def lenet():
    return nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2, 2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2, 2), nn.Flatten()),
        *(nn.Linear(800, 500), nn.ReLU(True), nn.Linear(500, 10)),
    )


def cifar10_quick():
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 5, padding=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(True)),
        *(nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(True), nn.AvgPool2d(3, 2, ceil_mode=True)),
        *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(True), nn.AvgPool2d(3, 2, ceil_mode=True)),
        *(nn.Flatten(), nn.Linear(1024, 64), nn.Linear(64, 10)),
    )


def caffenet():
    return nn.Sequential(
        *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(True), nn.MaxPool2d(3, 2), LRN()),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(True), nn.MaxPool2d(3, 2), LRN()),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(True)),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(True)),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(True), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(True), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout()),
        nn.Linear(4096, 1000),
    )


def convolution(inputs, outputs, size, **rest):
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, **rest), nn.ReLU(True))


class Inception(nn.Module):
    def __init__(self, inputs, one, reduce3, three, reduce5, five, pool):
        super().__init__()
        self.one = convolution(inputs, one, 1)
        self.three = nn.Sequential(convolution(inputs, reduce3, 1), convolution(reduce3, three, 3, padding=1))
        self.five = nn.Sequential(convolution(inputs, reduce5, 1), convolution(reduce5, five, 5, padding=2))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), convolution(inputs, pool, 1))

    def forward(self, x):
        return torch.cat((self.one(x), self.three(x), self.five(x), self.pool(x)), 1)


class GoogLeNet(nn.Module):
    def __init__(self):
        super().__init__()
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.a = nn.Sequential(
            *(convolution(3, 64, 7, stride=2, padding=3), pool, LRN(), convolution(64, 64, 1)),
            *(convolution(64, 192, 3, padding=1), LRN(), pool),
            *(Inception(192, 64, 96, 128, 16, 32, 32), Inception(256, 128, 128, 192, 32, 96, 64), pool),
            Inception(480, 192, 96, 208, 16, 48, 64),
        )
        self.b = nn.Sequential(
            *(Inception(512, 160, 112, 224, 24, 64, 64), Inception(512, 128, 128, 256, 24, 64, 64)),
            Inception(512, 112, 144, 288, 32, 64, 64),
        )
        self.c = nn.Sequential(
            *(Inception(528, 256, 160, 320, 32, 128, 128), pool),
            *(Inception(832, 256, 160, 320, 32, 128, 128), Inception(832, 384, 192, 384, 48, 128, 128)),
            *(nn.AvgPool2d(7), nn.Dropout(0.4), nn.Flatten(), nn.Linear(1024, 1000)),
        )
        self.auxiliary1, self.auxiliary2 = self.auxiliary(512), self.auxiliary(528)

    @staticmethod
    def auxiliary(inputs):
        return nn.Sequential(
            *(nn.AvgPool2d(5, 3), convolution(inputs, 128, 1), nn.Flatten(), nn.Linear(2048, 1024), nn.ReLU(True)),
            *(nn.Dropout(0.7), nn.Linear(1024, 1000)),
        )

    def forward(self, x):
        a = self.a(x)
        b = self.b(a)
        c = self.c(b)
        return (c, self.auxiliary1(a), self.auxiliary2(b)) if self.training else c


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride, project):
        super().__init__()

        def unit(inputs, outputs, size, **rest):
            return nn.Sequential(nn.Conv2d(inputs, outputs, size, bias=False, **rest), nn.BatchNorm2d(outputs))

        self.body = nn.Sequential(
            *(unit(inputs, width, 1, stride=stride), nn.ReLU(True), unit(width, width, 3, padding=1), nn.ReLU(True)),
            unit(width, 4 * width, 1),
        )
        self.shortcut = unit(inputs, 4 * width, 1, stride=stride) if project else nn.Identity()

    def forward(self, x):
        return functional.relu(self.body(x) + self.shortcut(x), True)


def resnet50(thinner=1, classes=1000):
    layers = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
    ]
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = (64 << stage) // thinner
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, 2 if block == 0 and stage > 0 else 1, block == 0))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AvgPool2d(7), nn.Flatten(), nn.Linear(inputs, classes))


class Caption(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(8801, 1000)
        self.lstm = nn.LSTM(1000, 1000, 2)
        self.predict = nn.Linear(1000, 8801)

    def forward(self, words):
        return self.predict(self.lstm(self.embedding(words))[0]).flatten(0, 1)


# net: model, batch, shape of a sample, classes
NETS = {
    "lenet": (lenet, 64, (1, 28, 28), 10),
    "cifar10_quick": (cifar10_quick, 100, (3, 32, 32), 10),
    "caffenet": (caffenet, 32, (3, 227, 227), 1000),
    "googlenet": (GoogLeNet, 16, (3, 224, 224), 1000),
    "resnet50": (resnet50, 16, (3, 224, 224), 1000),
    "resnet50_thin": (lambda: resnet50(thinner=2, classes=10), 16, (3, 224, 224), 10),
    "caption": (Caption, 16, None, 8801),
}


def loss_of(output, labels):
    if isinstance(output, tuple):  # GoogLeNet's auxiliary losses
        main, first, second = (functional.cross_entropy(each, labels) for each in output)
        return main + 0.3 * first + 0.3 * second
    return functional.cross_entropy(output, labels)


def make_model(net, batch):
    """The model, its input and labels."""
    create, _, shape, classes = NETS[net]
    torch.manual_seed(1)
    model = create()
    if shape is None:
        return model, torch.randint(0, classes, (20, batch)), torch.randint(0, classes, (20 * batch,))
    return model, torch.randn(batch, *shape), torch.randint(0, classes, (batch,))


def export(net, batch, path):
    model, data, _ = make_model(net, batch)
    torch.onnx.export(model.eval(), (data,), path, dynamo=True)


def make_step(net, variant, batch, inference, bf16):
    model, data, labels = make_model(net, batch)
    if variant == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        data = data.to(memory_format=torch.channels_last)
    if inference and bf16:
        model = model.to(torch.bfloat16)
        data = data.to(torch.bfloat16) if data.is_floating_point() else data
    run = torch.compile(model) if variant == "compile" else model
    if inference:
        model.eval()

        def infer():
            with torch.inference_mode():
                run(data)

        return infer
    optimiser = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=5e-4)

    def train():
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_of(run(data), labels)
        loss.backward()
        optimiser.step()

    return train


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("net", choices=NETS)
    parser.add_argument("steps", type=int)
    parser.add_argument("variant", choices=("eager", "channels_last", "compile", "export"))
    parser.add_argument("threads", type=int)
    parser.add_argument("--inference", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--output", help="of export")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    batch = arguments.batch or NETS[arguments.net][1]
    if arguments.variant == "export":
        return export(arguments.net, batch, arguments.output)
    step = make_step(arguments.net, arguments.variant, batch, arguments.inference, arguments.bf16)
    measure(step, arguments.steps, f"PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
