"""A net that says what is on images."""

import numpy as np

from . import io
from .net import Net
from .proto import caffe_pb2


class ImageNet(Net):
    """A net with one image input, and the preparation of its images: what Classifier and Detector have in common."""

    def __init__(self, model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap):
        super().__init__(model_file, caffe_pb2.TEST, weights=pretrained_file)
        if not self.inputs or len(self.blobs[self.inputs[0]].shape) != 4:
            raise ValueError(f"{model_file} has no input of images (N x C x H x W); use its deploy version")
        name = self.inputs[0]
        self.transformer = io.Transformer({name: self.blobs[name].shape})
        self.transformer.set_transpose(name, (2, 0, 1))
        if mean is not None:
            self.transformer.set_mean(name, mean)
        if input_scale is not None:
            self.transformer.set_input_scale(name, input_scale)
        if raw_scale is not None:
            self.transformer.set_raw_scale(name, raw_scale)
        if channel_swap is not None:
            self.transformer.set_channel_swap(name, channel_swap)


class Classifier(ImageNet):
    """A net that classifies images.

    image_dims: (height, width) that images are resized to before they are cropped; the input's own by default. mean,
    input_scale, raw_scale, channel_swap: as in caffe.io.Transformer, whose transposition is always (2, 0, 1).
    """

    def __init__(
        self,
        model_file,
        pretrained_file,
        image_dims=None,
        mean=None,
        input_scale=None,
        raw_scale=None,
        channel_swap=None,
    ):
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].shape[2:])
        self.image_dims = np.array(self.crop_dims if image_dims is None else image_dims)

    def predict(self, inputs, oversample=True):
        """Probabilities, N x classes, of N images (H x W x C, all with the same C).

        oversample: averages over the four corners, the centre and their mirror images; otherwise the centre alone.
        """
        name = self.inputs[0]
        images = [io.resize_image(image, self.image_dims) for image in inputs]
        if oversample:
            crops = io.oversample(images, self.crop_dims)
        else:
            top, left = ((size - crop) // 2 for size, crop in zip(self.image_dims, self.crop_dims))
            crops = [image[top : top + self.crop_dims[0], left : left + self.crop_dims[1]] for image in images]
        batch = np.asarray([self.transformer.preprocess(name, crop) for crop in crops], np.float32)
        predictions = self.forward_all(**{name: batch})[self.outputs[0]]
        if oversample:
            predictions = predictions.reshape(len(images), 10, -1).mean(1)
        return predictions
