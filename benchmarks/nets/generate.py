"""Writes caffenet, googlenet, resnet50, resnet50_thin and caption.prototxt of this folder: published nets on random
input.

CaffeNet: Krizhevsky et al. 2012 as Caffe's model zoo has it. GoogLeNet: Szegedy et al. 2014, with its two auxiliary
losses. ResNet-50: He et al. 2015, normalisation in place. caption: Donahue et al. 2014, two layers of LSTM that write a
sentence of 20 words.
"""

import pathlib

HERE = pathlib.Path(__file__).resolve().parent


class Text:
    """A net, one line a layer. Methods take the bottom's name and give the top's."""

    def __init__(self, name, comment):
        self.rules = ""  # of the layers to come
        self.lines = [f"# {comment} Written by generate.py.", f'name: "{name}"']

    def layer(self, name, kind, bottoms, tops, rest=""):
        rest = f"{self.rules} {rest}".strip()
        bottoms = "".join(f' bottom: "{bottom}"' for bottom in bottoms)
        tops = "".join(f' top: "{top}"' for top in tops)
        self.lines.append(f'layer {{ name: "{name}" type: "{kind}"{bottoms}{tops}{rest and " " + rest} }}')
        return name

    def input(self, name, *shape):
        dims = " ".join(f"dim: {extent}" for extent in shape)
        return self.layer(name, "Input", [], [name], f"input_param {{ shape {{ {dims} }} }}")

    def weights(self, kind, outputs, rest, filler, bias, std):
        filler = f'weight_filler {{ type: "{filler}"{f" std: {std}" if std else ""} }}'
        rates = "param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 } " if bias else ""
        bias = "" if bias else " bias_term: false"
        return f"{rates}{kind}_param {{ num_output: {outputs}{rest}{bias} {filler} }}"

    def convolution(self, name, bottom, outputs, size, stride=1, pad=0, group=1, bias=True, filler="msra", std=None):
        rest = f" kernel_size: {size}"
        rest += f" stride: {stride}" if stride > 1 else ""
        rest += f" pad: {pad}" if pad else ""
        rest += f" group: {group}" if group > 1 else ""
        text = self.weights("convolution", outputs, rest, filler, bias, std)
        return self.layer(name, "Convolution", [bottom], [name], text)

    def dense(self, name, bottom, outputs, filler="xavier", std=None, axis=None):
        rest = f" axis: {axis}" if axis else ""
        text = self.weights("inner_product", outputs, rest, filler, True, std)
        return self.layer(name, "InnerProduct", [bottom], [name], text)

    def relu(self, name, bottom):
        self.layer(name, "ReLU", [bottom], [bottom])
        return bottom

    def dropout(self, name, bottom, ratio):
        self.layer(name, "Dropout", [bottom], [bottom], f"dropout_param {{ dropout_ratio: {ratio} }}")
        return bottom

    def pool(self, name, bottom, size, stride, pad=0, kind="MAX"):
        pad = f" pad: {pad}" if pad else ""
        rest = f"pooling_param {{ pool: {kind} kernel_size: {size} stride: {stride}{pad} }}"
        return self.layer(name, "Pooling", [bottom], [name], rest)

    def lrn(self, name, bottom):
        return self.layer(name, "LRN", [bottom], [name], "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }")

    def concat(self, name, *bottoms):
        return self.layer(name, "Concat", bottoms, [name])

    def norm(self, suffix, blob, relu):
        self.layer("bn" + suffix, "BatchNorm", [blob], [blob])
        self.layer("scale" + suffix, "Scale", [blob], [blob], "scale_param { bias_term: true }")
        return self.relu(f"{blob}_relu", blob) if relu else blob

    def loss(self, bottom, name="loss", weight=None, label="label", rest=""):
        rest = (f"loss_weight: {weight} " if weight else "") + rest
        self.layer(name, "SoftmaxWithLoss", [bottom, label], [name], rest.strip())

    def write(self, file):
        (HERE / f"{file}.prototxt").write_text("\n".join(self.lines) + "\n")


def images(name, comment, batch, size):
    net = Text(name, comment)
    net.input("data", batch, 3, size, size)
    net.input("label", batch)
    return net


def caffenet():
    net = images("CaffeNet", "CaffeNet as in Caffe's model zoo, on random input.", 32, 227)

    def step(number, x, outputs, size, pool=False, norm=False, **rest):
        x = net.relu(f"relu{number}", net.convolution(f"conv{number}", x, outputs, size, **rest))
        x = net.pool(f"pool{number}", x, 3, 2) if pool else x
        return net.lrn(f"norm{number}", x) if norm else x

    x = step(1, "data", 96, 11, stride=4, pool=True, norm=True)
    x = step(2, x, 256, 5, pad=2, group=2, pool=True, norm=True)
    x = step(3, x, 384, 3, pad=1)
    x = step(4, x, 384, 3, pad=1, group=2)
    x = step(5, x, 256, 3, pad=1, group=2, pool=True)
    for number in (6, 7):
        x = net.relu(f"relu{number}", net.dense(f"fc{number}", x, 4096, "gaussian", 0.005))
        x = net.dropout(f"drop{number}", x, 0.5)
    net.loss(net.dense("fc8", x, 1000, "gaussian", 0.01))
    net.write("caffenet")


def googlenet():
    net = images("GoogLeNet", "GoogLeNet with its auxiliary losses, on random input.", 16, 224)

    def step(name, x, outputs, size, **rest):
        return net.relu(f"{name}_relu", net.convolution(name, x, outputs, size, **rest))

    def inception(name, x, one, reduce3, three, reduce5, five, pool):
        name = f"inception_{name}/"
        a = step(name + "1x1", x, one, 1)
        b = step(name + "3x3", step(name + "3x3_reduce", x, reduce3, 1), three, 3, pad=1)
        c = step(name + "5x5", step(name + "5x5_reduce", x, reduce5, 1), five, 5, pad=2)
        d = step(name + "pool_proj", net.pool(name + "pool", x, 3, 1, pad=1), pool, 1)
        return net.concat(name + "output", a, b, c, d)

    def auxiliary(number, x):
        name = f"loss{number}/"
        net.rules = "include { phase: TRAIN }"
        x = step(name + "conv", net.pool(name + "ave_pool", x, 5, 3, kind="AVE"), 128, 1)
        x = net.relu(name + "relu_fc", net.dense(name + "fc", x, 1024))
        x = net.dropout(name + "drop_fc", x, 0.7)
        net.loss(net.dense(name + "classifier", x, 1000), name + "loss", 0.3)
        net.rules = ""

    x = net.pool("pool1/3x3_s2", step("conv1/7x7_s2", "data", 64, 7, stride=2, pad=3), 3, 2)
    x = step("conv2/3x3_reduce", net.lrn("pool1/norm1", x), 64, 1)
    x = net.lrn("conv2/norm2", step("conv2/3x3", x, 192, 3, pad=1))
    x = net.pool("pool2/3x3_s2", x, 3, 2)
    x = inception("3a", x, 64, 96, 128, 16, 32, 32)
    x = inception("3b", x, 128, 128, 192, 32, 96, 64)
    x = net.pool("pool3/3x3_s2", x, 3, 2)
    x = inception("4a", x, 192, 96, 208, 16, 48, 64)
    auxiliary(1, x)
    x = inception("4b", x, 160, 112, 224, 24, 64, 64)
    x = inception("4c", x, 128, 128, 256, 24, 64, 64)
    x = inception("4d", x, 112, 144, 288, 32, 64, 64)
    auxiliary(2, x)
    x = inception("4e", x, 256, 160, 320, 32, 128, 128)
    x = net.pool("pool4/3x3_s2", x, 3, 2)
    x = inception("5a", x, 256, 160, 320, 32, 128, 128)
    x = inception("5b", x, 384, 192, 384, 48, 128, 128)
    x = net.dropout("pool5/drop", net.pool("pool5/7x7_s1", x, 7, 1, kind="AVE"), 0.4)
    net.loss(net.dense("loss3/classifier", x, 1000), "loss3/loss")
    net.write("googlenet")


def resnet50(file="resnet50", about="ResNet-50", thinner=1, classes=1000):
    net = images("ResNet-50", f"{about}, normalisation in place, on random input.", 16, 224)

    def unit(suffix, x, outputs, size, relu, **rest):
        return net.norm(suffix, net.convolution("res" + suffix, x, outputs, size, bias=False, **rest), relu)

    x = net.convolution("conv1", "data", 64, 7, stride=2, pad=3, bias=False)
    x = net.pool("pool1", net.norm("_conv1", x, True), 3, 2)
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=2):
        width //= thinner
        for block in range(blocks):
            suffix = f"{stage}{chr(ord('a') + block)}"
            stride = 2 if stage > 2 and block == 0 else 1
            shortcut = unit(suffix + "_branch1", x, 4 * width, 1, False, stride=stride) if block == 0 else x
            y = unit(suffix + "_branch2a", x, width, 1, True, stride=stride)
            y = unit(suffix + "_branch2b", y, width, 3, True, pad=1)
            y = unit(suffix + "_branch2c", y, 4 * width, 1, False)
            x = net.layer("res" + suffix, "Eltwise", [shortcut, y], ["res" + suffix])
            net.relu(f"res{suffix}_relu", x)
    x = net.pool("pool5", x, 7, 1, kind="AVE")
    net.loss(net.dense(f"fc{classes}", x, classes))
    net.write(file)


def caption():
    words, width, time, batch = 8801, 1000, 20, 16
    net = Text("caption", "Sentences by two layers of LSTM, on random words.")
    net.input("cont", time, batch)
    net.input("words", time, batch)
    net.input("label", time, batch)
    uniform = 'weight_filler { type: "uniform" min: -0.08 max: 0.08 }'
    rest = f"embed_param {{ input_dim: {words} num_output: {width} bias_term: false {uniform} }}"
    x = net.layer("embedding", "Embed", ["words"], ["embedding"], rest)
    for name in ("lstm1", "lstm2"):
        rest = f"recurrent_param {{ num_output: {width} {uniform} }}"
        x = net.layer(name, "LSTM", [x, "cont"], [name], rest)
    x = net.dense("predict", x, words, axis=2)
    net.loss(x, rest="softmax_param { axis: 2 }")
    net.write("caption")


if __name__ == "__main__":
    caffenet()
    googlenet()
    resnet50()
    resnet50("resnet50_thin", "ResNet-50 of half its width, like open_nsfw", thinner=2, classes=10)
    caption()
