"""The production plan against the plain one, on nets drawn at random: fusion, layouts and the reuse of memory must not show.

Each net is run twice from the same numbers: with every blob readable, so that each layer runs by itself (golden fixtures and
gradient checks hold those), and with nothing but inputs, outputs and parameters readable; then once more with as little
memory as it can do with. CAFFE_RANDOM_NETS=N draws N nets.
"""

import os
import random
import re

import caffe
import numpy as np
import pytest

COUNT = int(os.environ.get("CAFFE_RANDOM_NETS", "60"))


class Draw:
    """Writes a net of `depth` layers over blobs N x C x H x W, ending in one or two losses."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.layers = []
        self.shapes = {}  # of blobs that layers may still read
        self.unread = set()

    def text(self):
        draw = self.random
        batch = draw.choice([1, 2, 3, 4])
        data = (batch, draw.choice([1, 3, 4, 8]), draw.randint(7, 14), draw.randint(7, 14))
        self.shapes["data"] = data
        self.unread.add("data")
        for _ in range(draw.randint(3, 14)):
            getattr(self, draw.choice(self.KINDS))()
        self.losses(batch)
        dims = " ".join(f"dim: {extent}" for extent in data)
        head = (
            f'name: "drawn" force_backward: {draw.choice(["true", "false"])}\n'
            f'layer {{ name: "in" type: "Input" top: "data" top: "label" input_param {{ shape {{ {dims} }} shape {{ dim: {batch} }} }} }}\n'
        )
        return head + "\n".join(self.layers) + "\n"

    def add(self, kind, bottoms, shapes, parameters="", in_place=False):
        name = f"{kind.lower()}{len(self.layers)}"
        tops = list(bottoms) if in_place else [f"{name}_{i}" if i else name for i in range(len(shapes))]
        links = "".join(f' bottom: "{b}"' for b in bottoms) + "".join(f' top: "{t}"' for t in tops)
        self.layers.append(f'layer {{ name: "{name}" type: "{kind}"{links} {parameters} }}')
        for bottom in bottoms:
            self.unread.discard(bottom)
        for top, shape in zip(tops, shapes):
            self.shapes[top] = shape
            self.unread.add(top)
        return tops[0]

    def pick(self):
        """A blob, more often one that nothing reads yet."""
        pool = sorted(self.unread) if self.unread and self.random.random() < 0.7 else sorted(self.shapes)
        return self.random.choice(pool)

    def in_place(self, blob):
        """In place is right only where nobody else reads the blob."""
        return blob != "data" and blob in self.unread and self.random.random() < 0.6

    def fill(self):
        return 'weight_filler { type: "gaussian" std: 0.3 } bias_filler { type: "gaussian" std: 0.2 }'

    # ---- layers ----

    def convolution(self):
        draw, blob = self.random, self.pick()
        n, c, h, w = self.shapes[blob]
        kernel, stride, dilation = draw.choice([1, 1, 2, 3, 3, 5]), draw.choice([1, 1, 2]), draw.choice([1, 1, 1, 2])
        pad = draw.randint(0, kernel // 2 + 1)
        reach = dilation * (kernel - 1) + 1
        if min(h, w) + 2 * pad < reach:
            return
        groups = draw.choice([g for g in (1, 1, 1, 2, 4, c) if c % g == 0])
        out = groups * draw.choice([1, 2, 4, 8])
        size = [(extent + 2 * pad - reach) // stride + 1 for extent in (h, w)]
        bias = draw.choice(["true", "true", "false"])
        self.add(
            "Convolution",
            [blob],
            [(n, out, *size)],
            f"convolution_param {{ num_output: {out} kernel_size: {kernel} stride: {stride} pad: {pad} dilation: {dilation} "
            f"group: {groups} bias_term: {bias} {self.fill()} }}",
        )

    def deconvolution(self):
        draw, blob = self.random, self.pick()
        n, c, h, w = self.shapes[blob]
        kernel, stride = draw.choice([2, 3, 4]), draw.choice([1, 2])
        if max(h, w) > 16:
            return
        out = draw.choice([1, 3, 8])
        size = [stride * (extent - 1) + kernel for extent in (h, w)]
        self.add(
            "Deconvolution",
            [blob],
            [(n, out, *size)],
            f"convolution_param {{ num_output: {out} kernel_size: {kernel} stride: {stride} {self.fill()} }}",
        )

    def pooling(self):
        draw, blob = self.random, self.pick()
        n, c, h, w = self.shapes[blob]
        kernel, stride = draw.choice([2, 3]), draw.choice([1, 2, 2])
        pad = draw.choice([0, 0, 1])
        if min(h, w) < kernel:
            return
        size = []
        for extent in (h, w):
            count = -(-(extent + 2 * pad - kernel) // stride) + 1
            if pad and (count - 1) * stride >= extent + pad:
                count -= 1
            size.append(count)
        way = draw.choice(["MAX", "AVE"])
        self.add(
            "Pooling",
            [blob],
            [(n, c, *size)],
            f"pooling_param {{ pool: {way} kernel_size: {kernel} stride: {stride} pad: {pad} }}",
        )

    def activation(self):
        blob = self.pick()
        kind, parameters = self.random.choice(
            [
                ("ReLU", ""),
                ("ReLU", ""),
                ("ReLU", "relu_param { negative_slope: 0.1 }"),
                ("PReLU", "prelu_param { filler { value: 0.2 } }"),
                ("ELU", ""),
                ("Sigmoid", ""),
                ("TanH", ""),
                ("AbsVal", ""),
                ("BNLL", ""),
                ("Power", "power_param { power: 2 scale: 0.5 shift: 0.1 }"),
            ]
        )
        # What rewrites its bottom from its top alone may follow any layer in place, the others only what does not need its top.
        in_place = kind in ("ReLU", "ELU", "Sigmoid", "TanH") and "slope" not in parameters and self.in_place(blob)
        self.add(kind, [blob], [self.shapes[blob]], parameters, in_place and self.keeps(blob))

    def keeps(self, blob):
        """Whether what wrote the blob last can do its backward pass when the blob is overwritten."""
        last = next(line for line in reversed(self.layers) if f'top: "{blob}"' in line)
        return any(
            f'type: "{kind}"' in last
            for kind in ("Convolution", "InnerProduct", "Eltwise", "Concat", "Scale", "Deconvolution")
        )

    def normalisation(self):
        blob = self.pick()
        n, c, h, w = self.shapes[blob]
        if self.random.random() < 0.3:
            self.add("LRN", [blob], [self.shapes[blob]], "lrn_param { local_size: 3 alpha: 0.5 }")
            return
        if n * h * w < 8:
            return
        # Without these specs Caffe goes backward through all above, which only shows where all blobs are readable.
        specs = "param { lr_mult: 0 } " * 3
        top = self.add("BatchNorm", [blob], [self.shapes[blob]], specs + "batch_norm_param { eps: 0.01 }")
        if self.random.random() < 0.8:
            parameters = 'scale_param { bias_term: true filler { type: "gaussian" std: 0.5 } }'
            top = self.add("Scale", [top], [self.shapes[blob]], parameters, self.random.random() < 0.5)
            if self.random.random() < 0.6:
                self.add("ReLU", [top], [self.shapes[blob]], "", self.random.random() < 0.7)

    def eltwise(self):
        first = self.pick()
        others = [name for name in sorted(self.shapes) if self.shapes[name] == self.shapes[first] and name != first]
        if not others:
            return
        second = self.random.choice(others)
        way = self.random.choice(["SUM", "SUM", "SUM coeff: 0.5 coeff: -1.5", "PROD", "MAX"])
        top = self.add("Eltwise", [first, second], [self.shapes[first]], f"eltwise_param {{ operation: {way} }}")
        if self.random.random() < 0.5:
            self.add("ReLU", [top], [self.shapes[first]], "", True)

    def concat(self):
        first = self.pick()
        n, c, h, w = self.shapes[first]
        others = [name for name, shape in sorted(self.shapes.items()) if shape[2:] == (h, w) and name != first]
        if not others:
            return
        second = self.random.choice(others)
        self.add("Concat", [first, second], [(n, c + self.shapes[second][1], h, w)])

    def slice(self):
        blob = self.pick()
        n, c, h, w = self.shapes[blob]
        if c < 2:
            return
        point = self.random.randint(1, c - 1)
        self.add("Slice", [blob], [(n, point, h, w), (n, c - point, h, w)], f"slice_param {{ slice_point: {point} }}")

    def inner_product(self):
        blob = self.pick()
        out = self.random.choice([3, 8, 16])
        top = self.add(
            "InnerProduct",
            [blob],
            [(self.shapes[blob][0], out)],
            f"inner_product_param {{ num_output: {out} {self.fill()} }}",
        )
        n = self.shapes[blob][0]
        self.add("Reshape", [top], [(n, out, 1, 1)], "reshape_param { shape { dim: 0 dim: 0 dim: 1 dim: 1 } }")
        del self.shapes[top]

    def mvn(self):
        blob = self.pick()
        n, c, h, w = self.shapes[blob]
        if h * w >= 4:
            self.add("MVN", [blob], [self.shapes[blob]], "mvn_param { eps: 0.01 }")

    KINDS = (
        ["convolution"] * 4
        + ["activation"] * 3
        + ["pooling", "normalisation", "normalisation", "eltwise", "eltwise"]
        + [
            "concat",
            "slice",
            "deconvolution",
            "inner_product",
            "mvn",
        ]
    )

    def losses(self, batch):
        """Everything that nobody reads goes into a loss or is left an output."""
        draw = self.random
        rest = sorted(self.unread - {"data"}) or [self.pick()]
        for blob in rest[:-1]:
            if draw.random() < 0.4:
                self.add("Reduction", [blob], [()], "reduction_param { operation: SUMSQ coeff: 0.01 } loss_weight: 1")
        blob = rest[-1]
        self.layers.append(
            f'layer {{ name: "score" type: "InnerProduct" bottom: "{blob}" top: "score" inner_product_param {{ num_output: 4 {self.fill()} }} }}'
        )
        self.layers.append('layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }')


def run(net, weights, passes, backward=True):
    """Outputs, and gradients, of `passes` passes over different inputs."""
    for name, blobs in weights.items():
        for blob, values in zip(net.params[name], blobs):
            blob.data[...] = values
    seen = []
    for number in range(passes):
        rng = np.random.default_rng(number)
        net.blobs["data"].data[...] = rng.standard_normal(net.blobs["data"].data.shape)
        net.blobs["label"].data[...] = rng.integers(0, 4, net.blobs["label"].data.shape)
        net.clear_param_diffs()
        net.forward()
        seen.append({f"output {name}": np.array(net.blobs[name].data) for name in net.outputs})
        if not backward:
            continue
        net.backward()
        for name, blobs in net.params.items():
            for index, blob in enumerate(blobs):
                seen[-1][f"gradient of {name} {index}"] = np.array(blob.diff)
                seen[-1][f"parameter {name} {index}"] = np.array(blob.data)
        seen[-1]["gradient of data"] = np.array(net.blobs["data"].diff)
    return seen


def drawn_weights(net, seed):
    """The net's own, and statistics of batches."""
    weights = {name: [np.array(blob.data) for blob in blobs] for name, blobs in net.params.items()}
    rng = np.random.default_rng(seed)
    for name, blobs in weights.items():
        if name.startswith("batchnorm"):
            blobs[0][...] = rng.standard_normal(blobs[0].shape) * 0.3
            blobs[1][...] = rng.uniform(0.5, 2, blobs[1].shape)
            blobs[2][...] = 1
    return weights


@pytest.mark.parametrize("seed", range(COUNT))
def test_inference_does_not_show(seed, make_net, tmp_path):
    """A solver's test nets never run backward, so that layers are folded into others."""
    text = Draw(seed).text()
    plain = make_net(text, caffe.TEST)
    weights = drawn_weights(plain, seed)
    (tmp_path / "drawn.prototxt").write_text(text)
    (tmp_path / "solver.prototxt").write_text(
        'net: "drawn.prototxt" test_iter: 1 test_interval: 9 base_lr: 0.1 lr_policy: "fixed"'
    )
    solver = caffe.get_solver(tmp_path / "solver.prototxt", observed=[])
    actual = run(solver.test_nets[0], weights, 3, backward=False)
    compare(actual, run(plain, weights, 3, backward=False), text)


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST], ids=["train", "test"])
@pytest.mark.parametrize("seed", range(COUNT))
def test_plan_does_not_show(seed, phase, make_net):
    text = Draw(seed).text()
    plain = make_net(text, phase)
    weights = drawn_weights(plain, seed)
    expected = run(plain, weights, 2)
    planned = make_net(text, phase, observed=[])
    actual = run(planned, weights, 2)
    compare(actual, expected, text)
    less = with_least_memory(make_net, text, phase, planned)
    if less:
        check_equal(run(less, weights, 2), actual, text)


def with_least_memory(make_net, text, phase, net):
    """The net with as little memory as possible; None where nothing shares any."""
    shared = re.search(r"memory shared by the steps: (\d+)", net.plan())
    if not shared or int(shared[1]) < 2:
        return None
    with pytest.raises(caffe.CaffeError, match="needs at least") as refused:
        make_net(text, phase, observed=[], memory_limit=1)
    least = int(re.search(r"needs at least (\d+)", str(refused.value))[1])
    return make_net(text, phase, observed=[], memory_limit=least)


def check_equal(actual, expected, text):
    """Bit by bit: the same kernels run on the same numbers."""
    for number, (left, right) in enumerate(zip(actual, expected, strict=True)):
        for what in right:
            assert (left[what] == right[what]).all(), f"pass {number}, {what} differs with less memory in\n{text}"


def compare(actual, expected, text):
    for number, (left, right) in enumerate(zip(actual, expected)):
        assert left.keys() == right.keys()
        # Sums that cancel, such as a bias before BatchNorm, are exact to the size of their terms.
        gradients = [values for what, values in right.items() if what.startswith("gradient")]
        terms = max((np.abs(values).max(initial=0) for values in gradients), default=0)
        for what in right:
            floor = 0.05 * terms if what.startswith("gradient") else 0.01
            scale = max(floor, np.abs(right[what]).max(initial=0))
            worst = np.abs(left[what] - right[what]).max(initial=0)
            assert worst <= 2e-4 * scale, f"pass {number}, {what}: off by {worst:.3g} of {scale:.3g} in\n{text}"
