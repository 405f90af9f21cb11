# %% [markdown]
# # Fine-tuning, and looking inside a net
#
# A LeNet learns handwritten digits from 1400 clean pictures. What it learned then helps with those of a bad scanner, of
# which there are only 50: we fine-tune it, compare with a net that starts from nothing, look at its filters and use it
# to turn pictures into features. Each cell runs by itself after those above it, in an editor that knows `# %%` cells or
# in Jupyter; as a script it takes a few seconds: `python finetune.py [--data FOLDER] [--output FOLDER]`.

# %%
import argparse
import os
from pathlib import Path

import caffe
import numpy as np
from caffe import layers as L  # noqa: N812
from caffe import params as P  # noqa: N812

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
except ImportError:  # the pictures are then left out
    plt = None

HERE = Path(__file__).resolve().parent if "__file__" in globals() else Path.cwd()
parser = argparse.ArgumentParser(description="Fine-tunes a LeNet, and looks inside.")
parser.add_argument("--data", default=HERE / "../../tests/golden/e2e_digits", help="has digits_{train,test}_lmdb")
parser.add_argument("--output", default="finetune_output", help="for models and pictures")
options, _ = parser.parse_known_args()
data_folder, output = Path(options.data).resolve(), Path(options.output)
output.mkdir(parents=True, exist_ok=True)
os.chdir(output)
caffe.init_log(1)  # warnings only
caffe.set_random_seed(1)


# %% [markdown]
# ## Data
# Any store that Caffe reads can be read with a net of one layer. Here its records become two arrays.


# %%
def read(store, count):
    n = caffe.NetSpec()
    source = dict(source=str(data_folder / store), backend=P.Data.LMDB, batch_size=count)
    n.data, n.label = L.Data(data_param=source, transform_param=dict(scale=1 / 256), ntop=2)
    Path("reader.prototxt").write_text(str(n.to_proto()))
    net = caffe.Net("reader.prototxt", caffe.TEST)
    net.forward()
    return net.blobs["data"].data.copy(), net.blobs["label"].data.astype(int).ravel()


train_images, train_labels = read("digits_train_lmdb", 1437)
test_images, test_labels = read("digits_test_lmdb", 360)


def scanned(images):
    """The pictures as a bad scanner gives them: pale, on gray paper, and full of noise."""
    noise = np.random.default_rng(0).normal(0, 0.25, images.shape)
    return (0.5 * images + 0.3 + noise).astype(np.float32)


test_scans = scanned(test_images)
print(f"{len(train_images)} digits to learn from, {len(test_images)} to test with, each {train_images.shape[1:]}")

# %% [markdown]
# ## The net
# `NetSpec` writes net files. The last layer is named by the task: layers that have the same name take over what was
# learned, and one with a new name starts afresh.

# %%
BATCH = 50


def write_net(path, last, images):
    """A LeNet whose last layer is called `last`; with images, or with an Input layer for use."""
    n = caffe.NetSpec()
    if images:
        n.data, n.label = L.MemoryData(batch_size=BATCH, channels=1, height=28, width=28, ntop=2)
    else:
        n.data = L.Input(shape=dict(dim=[BATCH, 1, 28, 28]))
    filler = dict(weight_filler=dict(type="xavier"))
    learned = [dict(lr_mult=1), dict(lr_mult=2)]
    afresh = [dict(lr_mult=5), dict(lr_mult=10)]  # a layer that knows nothing yet learns faster
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, param=learned, **filler)
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, param=learned, **filler)
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool2, num_output=100, param=learned, **filler)
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.scores = L.InnerProduct(n.relu1, name=last, num_output=10, param=afresh, **filler)
    if images:
        n.loss = L.SoftmaxWithLoss(n.scores, n.label)
    else:
        n.prob = L.Softmax(n.scores)
    Path(path).write_text(str(n.to_proto()))


def train(last, images, labels, iterations, start=None):
    """Trains on the images. Returns the net and the loss of every iteration."""
    write_net(f"{last}_train.prototxt", last, images=True)
    Path(f"{last}_solver.prototxt").write_text(
        f'net: "{last}_train.prototxt" type: "SGD" base_lr: 0.005 momentum: 0.9 weight_decay: 0.0005\n'
        f'lr_policy: "fixed" max_iter: {iterations} snapshot_prefix: "{last}" random_seed: 1'
    )
    solver = caffe.get_solver(f"{last}_solver.prototxt")
    if start is not None:
        solver.net.copy_from(start)
    solver.net.set_input_arrays(images, labels)
    losses = []
    for _ in range(iterations):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    return solver.net, losses


def some(images, labels, count):
    """`count` images of each digit, in random order, and their labels."""
    rng = np.random.default_rng(1)
    chosen = rng.permutation(np.concatenate([rng.permutation(np.flatnonzero(labels == i))[:count] for i in range(10)]))
    return np.ascontiguousarray(images[chosen]), labels[chosen]


# %% [markdown]
# ## Learn from clean pictures, then fine-tune for scans
# The second task gets 50 pictures in all. `copy_from` loads by layer name: all layers but the last start from the
# first task's.

# %%
clean_net, clean_losses = train("clean", train_images[:1400], train_labels[:1400], iterations=150)
clean_net.save("clean.caffemodel")

few = some(scanned(train_images), train_labels, BATCH // 10)
tuned_net, tuned_losses = train("tuned", *few, iterations=60, start="clean.caffemodel")
tuned_net.save("tuned.caffemodel")
fresh_net, fresh_losses = train("fresh", *few, iterations=60)
fresh_net.save("fresh.caffemodel")


# %%
def tested(name):
    """A net for use, and its accuracy on the scans of the test pictures."""
    write_net(f"{name}_deploy.prototxt", name, images=False)
    net = caffe.Net(f"{name}_deploy.prototxt", caffe.TEST, weights=f"{name}.caffemodel")
    return net, float(np.mean(net.forward_all(data=test_scans)["prob"].argmax(1) == test_labels))


_, clean_accuracy = tested("clean")
_, fresh_accuracy = tested("fresh")
net, tuned_accuracy = tested("tuned")
print(f"Accuracy on scans: trained on clean pictures {clean_accuracy:.3f}; with {BATCH} scans", end=" ")
print(f"fine-tuned {tuned_accuracy:.3f}, from nothing {fresh_accuracy:.3f}")

# %% [markdown]
# ## Look inside
# Blobs are what flows between layers, params what the layers learned; `data` and `diff` are numpy views on both.

# %%
print("\nBlobs")
for name, blob in net.blobs.items():
    print(f"  {name:8} {blob.data.shape!s:20} mean {blob.data.mean():8.4f}")
print("Parameters")
for name, blobs in net.params.items():
    print(f"  {name:8} {', '.join(str(blob.data.shape) for blob in blobs)}")

# %% [markdown]
# Where in the picture does the answer come from? Backward from one class's score to the pixels.

# %%
write_net("saliency.prototxt", "tuned", images=False)
text = Path("saliency.prototxt").read_text()
Path("saliency.prototxt").write_text("force_backward: true\n" + text)
watched = caffe.Net("saliency.prototxt", caffe.TEST, weights="tuned.caffemodel")
watched.forward(data=test_scans[:BATCH], end="tuned")
answers = watched.blobs["scores"].data.argmax(1)
watched.blobs["scores"].diff[...] = np.eye(10)[answers]
saliency = np.abs(watched.backward(start="tuned")["data"]).copy()

# %% [markdown]
# ## Features
# The outputs of `ip1` describe a picture with 100 numbers. The nearest of ten centres, made from the 50 scans, says
# which digit it is.

# %%
features = net.forward_all(blobs=["ip1"], data=test_scans)["ip1"]
known = net.forward_all(blobs=["ip1"], data=few[0])["ip1"]
centres = np.array([known[few[1] == digit].mean(0) for digit in range(10)])
nearest = np.linalg.norm(features[:, None] - centres[None], axis=2).argmin(1)
centre_accuracy = float(np.mean(nearest == test_labels))
np.save("features.npy", features)
print(f"\nFeatures {features.shape}: the nearest centre is right for {centre_accuracy:.3f}")


# %% [markdown]
# ## Pictures


# %%
def tiles(images):
    """N x H x W as one picture, in rows of equal length with a line between."""
    columns = int(np.ceil(np.sqrt(len(images))))
    low, high = images.min(), images.max()
    images = (images - low) / max(high - low, 1e-9)
    rows = -(-len(images) // columns)
    padded = np.ones((rows * columns, images.shape[1] + 1, images.shape[2] + 1))
    padded[: len(images), :-1, :-1] = images
    return padded.reshape(rows, columns, *padded.shape[1:]).swapaxes(1, 2).reshape(rows * padded.shape[1], -1)


def save_picture(name, panels):
    """Panels with titles, beside each other: arrays as pictures, dicts of lists as curves."""
    figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 4))
    for axis, (title, content) in zip(np.atleast_1d(axes), panels.items()):
        axis.set_title(title)
        if isinstance(content, dict):
            for label, values in content.items():
                axis.plot(values, label=label)
            axis.set(xlabel="iteration", ylabel="loss", yscale="log")
            axis.legend()
        else:
            axis.imshow(content, cmap="gray")
            axis.axis("off")
    figure.tight_layout()
    figure.savefig(name)
    plt.close(figure)


if plt is None:
    print("matplotlib is not installed: no pictures")
else:
    scan_losses = {"fine-tuned": tuned_losses, "from nothing": fresh_losses}
    save_picture("losses.png", {"clean pictures": {"all layers": clean_losses}, "scans": scan_losses})
    filters, responses = net.params["conv1"][0].data[:, 0], net.blobs["conv1"].data[0]
    save_picture("filters.png", {"conv1: filters": tiles(filters), "conv1: what they see": tiles(responses)})
    scans = tiles(test_scans[:16, 0])
    save_picture("saliency.png", {"scans": scans, "pixels that matter": tiles(saliency[:16, 0])})
    print(f"Pictures: losses.png, filters.png and saliency.png in {Path.cwd()}")
