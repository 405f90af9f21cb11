"""Images, and the messages that hold them.

Images are arrays of H x W x C; colours are in the order R, G, B, as float32 in [0, 1], unless said otherwise.
"""

import numpy as np

from . import _caffe
from .proto import caffe_pb2


def load_image(filename, color=True):
    """Reads a JPEG, PNG, BMP, GIF or PNM file: float32 in [0, 1], H x W x 3 (R, G, B), or x 1 with color=False."""
    with open(filename, "rb") as file:
        encoded = file.read()
    try:
        pixels, height, width, channels = _caffe.decode_image(encoded, bool(color))
    except _caffe.CaffeError as error:
        raise _caffe.CaffeError(f"{filename}: {error}") from None
    image = np.frombuffer(pixels, np.uint8).reshape(height, width, channels)[:, :, ::-1]
    return image.astype(np.float32) / np.float32(255)


def resize_image(image, new_dims, interp_order=1):
    """Resizes H x W x C to new_dims = (height, width). interp_order: 1 bilinear, 0 nearest. Gives float32."""
    if interp_order not in (0, 1):
        raise ValueError(f"interp_order is {interp_order!r}; use 0 (nearest) or 1 (bilinear)")
    image = np.asarray(image, np.float32)
    for axis in (0, 1):
        image = _resize_axis(image, axis, int(new_dims[axis]), interp_order)
    return np.ascontiguousarray(image)


def _resize_axis(image, axis, size, order):
    old = image.shape[axis]
    if old == size:
        return image
    # Pixel centres lie at half coordinates; beyond the border the outermost pixel is repeated.
    position = (np.arange(size) + 0.5) * (old / size) - 0.5
    if order == 0:
        return np.take(image, np.clip(np.floor(position + 0.5).astype(int), 0, old - 1), axis)
    position = np.clip(position, 0, old - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, old - 1)
    extents = [1] * image.ndim
    extents[axis] = size
    weight = (position - low).astype(np.float32).reshape(extents)
    return np.take(image, low, axis) * (1 - weight) + np.take(image, high, axis) * weight


def oversample(images, crop_dims):
    """The four corners, the centre and their mirror images of each image.

    images: N arrays of H x W x C. crop_dims: (height, width). Gives 10*N x height x width x C, float32.
    """
    height, width = int(crop_dims[0]), int(crop_dims[1])
    crops = []
    for image in images:
        bottom, right = image.shape[0] - height, image.shape[1] - width
        if bottom < 0 or right < 0:
            raise ValueError(f"a crop of {height} x {width} does not fit into an image of {image.shape[:2]}")
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
        parts = [image[y : y + height, x : x + width] for y, x in corners]
        crops += parts + [part[:, ::-1] for part in parts]
    return np.asarray(crops, np.float32)


class Transformer:
    """Prepares images for a net's inputs, and makes images of what is in them.

    Transformer({"data": net.blobs["data"].data.shape}). Every step is optional, and per input: resize to the blob's
    height and width; transpose; reorder the channels; multiply by raw_scale; subtract the mean; multiply by
    input_scale.
    """

    def __init__(self, inputs):
        self.inputs = inputs
        self.transpose = {}
        self.channel_swap = {}
        self.raw_scale = {}
        self.mean = {}
        self.input_scale = {}

    def _check(self, name):
        if name not in self.inputs:
            raise ValueError(f"{name!r} is not one of the inputs {sorted(self.inputs)}")

    def preprocess(self, name, image):
        """From an image, H x W x C, to what input `name` takes, K x H x W, float32."""
        self._check(name)
        values = np.asarray(image, np.float32)
        size = tuple(self.inputs[name][2:])
        if values.shape[:2] != size:
            values = resize_image(values, size)
        if name in self.transpose:
            values = values.transpose(self.transpose[name])
        if name in self.channel_swap:
            values = values[list(self.channel_swap[name])]
        values = values * np.float32(self.raw_scale.get(name, 1))
        values = values - self.mean.get(name, np.float32(0))
        return values * np.float32(self.input_scale.get(name, 1))

    def deprocess(self, name, values):
        """The reverse of preprocess(), without the resizing."""
        self._check(name)
        image = np.array(values, np.float32).squeeze()
        image = image / np.float32(self.input_scale.get(name, 1))
        image = image + self.mean.get(name, np.float32(0))
        image = image / np.float32(self.raw_scale.get(name, 1))
        if name in self.channel_swap:
            image = image[np.argsort(self.channel_swap[name])]
        if name in self.transpose:
            image = image.transpose(np.argsort(self.transpose[name]))
        return image

    def set_transpose(self, name, order):
        """order: of the image's axes; (2, 0, 1) makes C x H x W of H x W x C."""
        self._check(name)
        if len(order) != len(self.inputs[name]) - 1:
            raise ValueError(f"{order!r} has {len(order)} axes; input {name!r} has {len(self.inputs[name]) - 1}")
        self.transpose[name] = order

    def set_channel_swap(self, name, order):
        """order: of the channels; (2, 1, 0) makes B, G, R of R, G, B."""
        self._check(name)
        if len(order) != self.inputs[name][1]:
            raise ValueError(f"{order!r} has {len(order)} channels; input {name!r} has {self.inputs[name][1]}")
        self.channel_swap[name] = order

    def set_raw_scale(self, name, scale):
        """What the image is multiplied with before the mean: 255 where the net wants [0, 255]."""
        self._check(name)
        self.raw_scale[name] = scale

    def set_mean(self, name, mean):
        """mean: one value per channel, or an array of K x H x W (or H x W for one channel)."""
        self._check(name)
        mean = np.asarray(mean, np.float32)
        shape = tuple(self.inputs[name])
        if mean.ndim == 1:
            if len(mean) not in (1, shape[1]):
                raise ValueError(f"the mean has {len(mean)} values; input {name!r} has {shape[1]} channels")
            mean = mean[:, np.newaxis, np.newaxis]
        else:
            mean = mean[np.newaxis] if mean.ndim == 2 else mean
            if mean.shape != shape[1:]:
                raise ValueError(f"the mean has the shape {mean.shape}; input {name!r} takes {shape[1:]}")
        self.mean[name] = mean

    def set_input_scale(self, name, scale):
        """What is multiplied with after the mean was subtracted."""
        self._check(name)
        self.input_scale[name] = scale


# ---- messages ----


def blobproto_to_array(blob, return_diff=False):
    """The data (or the diff) of a BlobProto: float32, or float64 where it holds doubles.

    Its shape is the message's, in either form; a message without one holds a single number, and gives an array of no
    axes.
    """
    values = blob.diff if return_diff else blob.data
    doubles = blob.double_diff if return_diff else blob.double_data
    array = np.array(doubles, np.float64) if len(doubles) else np.array(values, np.float32)
    legacy = ("num", "channels", "height", "width")
    if any(blob.HasField(name) for name in legacy):
        shape = [getattr(blob, name) for name in legacy]
    else:
        shape = list(blob.shape.dim)
    if array.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f"the message holds {array.size} values, which do not fill its shape {shape}")
    return array.reshape(shape)


def array_to_blobproto(array, diff=None):
    """A BlobProto of an array of any shape, and of its gradients."""
    array = np.asarray(array)
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(array.shape)
    blob.data.extend(array.astype(np.float32).ravel().tolist())
    if diff is not None:
        if np.shape(diff) != array.shape:
            raise ValueError(f"the diff has the shape {np.shape(diff)}, the data {array.shape}")
        blob.diff.extend(np.asarray(diff, np.float32).ravel().tolist())
    return blob


def arraylist_to_blobprotovector_str(arrays):
    """A serialised BlobProtoVector of arrays."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend(array_to_blobproto(array) for array in arrays)
    return vector.SerializeToString()


def blobprotovector_str_to_arraylist(text):
    """The arrays of a serialised BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector.FromString(text)
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(array, label=None):
    """A Datum of an array C x H x W; uint8 as bytes, other types as floats."""
    array = np.asarray(array)
    if array.ndim != 3:
        raise ValueError(f"a Datum holds C x H x W, not the shape {array.shape}")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = array.shape
    if array.dtype == np.uint8:
        datum.data = array.tobytes()
    else:
        datum.float_data.extend(array.astype(np.float32).ravel().tolist())
    if label is not None:
        datum.label = int(label)
    return datum


def datum_to_array(datum):
    """C x H x W of a Datum: uint8 where it holds bytes, float32 where it holds floats. Its label is datum.label."""
    if datum.encoded:
        raise ValueError("the Datum holds an encoded image; decode datum.data first")
    if len(datum.data):
        array = np.frombuffer(datum.data, np.uint8).copy()
    else:
        array = np.array(datum.float_data, np.float32)
    return array.reshape(datum.channels, datum.height, datum.width)
