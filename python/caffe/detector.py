"""A net that says what is in windows of images (R-CNN)."""

import os

import numpy as np

from . import io
from .classifier import ImageNet


class Detector(ImageNet):
    """A net with one image input, which classifies windows of images, each warped to the input's size.

    mean, input_scale, raw_scale, channel_swap: as in caffe.io.Transformer, whose transposition is always (2, 0, 1).
    context_pad: pixels around the window, at the input's size, that are filled from the image around it; outside of
    the image, with the mean.
    """

    def __init__(
        self,
        model_file,
        pretrained_file,
        mean=None,
        input_scale=None,
        raw_scale=None,
        channel_swap=None,
        context_pad=None,
    ):
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows):
        """Predictions for windows of images.

        images_windows: pairs of an image file and its windows, each (ymin, xmin, ymax, xmax) in pixels, the last row
        and column not included. Gives a list with one dict for each window: filename, window, and prediction, a row of
        the net's output.
        """
        found = [(name, image, window) for name, image, windows in self._loaded(images_windows) for window in windows]
        if not found:
            return []
        name = self.inputs[0]
        batch = [self.transformer.preprocess(name, self.crop(image, window)) for _, image, window in found]
        predictions = self.forward_all(**{name: np.asarray(batch, np.float32)})[self.outputs[0]]
        return [
            {"window": window, "prediction": prediction, "filename": file}
            for (file, _, window), prediction in zip(found, predictions)
        ]

    def _loaded(self, images_windows):
        for file, windows in images_windows:
            yield file, io.load_image(file), windows

    def detect_selective_search(self, image_fnames):
        """detect_windows() of the windows that Selective Search proposes for the images.

        Needs the Python package selective_search_ijcv_with_python, and MATLAB for that.
        """
        try:
            import selective_search_ijcv_with_python as selective_search
        except ImportError:
            raise ImportError(
                "Selective Search needs the package selective_search_ijcv_with_python "
                "(github.com/sergeyk/selective_search_ijcv_with_python); give windows of your own to detect_windows()"
            ) from None
        files = [os.path.abspath(file) for file in image_fnames]
        return self.detect_windows(zip(files, selective_search.get_windows(files)))

    def configure_crop(self, context_pad):
        """Sets context_pad, and what crop() fills with: the mean in the images' own colours and range."""
        name = self.inputs[0]
        height, width = self.blobs[name].shape[2:]
        self.context_pad = int(context_pad or 0)
        if not 0 <= 2 * self.context_pad < min(height, width):
            raise ValueError(f"a context_pad of {context_pad} leaves nothing of the input's {height} x {width} pixels")
        mean = np.zeros(self.blobs[name].shape[1:], np.float32) + self.transformer.mean.get(name, np.float32(0))
        swap = self.transformer.channel_swap.get(name)
        if swap is not None:
            mean = mean[np.argsort(swap)]
        self.crop_mean = mean.transpose(1, 2, 0) / np.float32(self.transformer.raw_scale.get(name, 1))
        self.crop_dims = np.array(self.crop_mean.shape)

    def crop(self, im, window):
        """The part of an image (H x W x C) that is in a window, (ymin, xmin, ymax, xmax).

        With context_pad, the window and its surroundings are warped together to the input's size, so that the window
        itself fills the input but for context_pad pixels on each side.
        """
        top, left, bottom, right = (float(value) for value in window)
        if not (bottom > top and right > left):
            raise ValueError(f"the window {tuple(window)} is empty; windows are (ymin, xmin, ymax, xmax)")
        if not self.context_pad:
            part = im[int(top) : int(bottom), int(left) : int(right)]
            if not part.size:
                raise ValueError(f"the window {tuple(window)} lies outside of the image of {im.shape[:2]}")
            return part
        rows = _padded_span(top, bottom, im.shape[0], self.crop_dims[0], self.context_pad)
        columns = _padded_span(left, right, im.shape[1], self.crop_dims[1], self.context_pad)
        part = im[rows.source, columns.source]
        if not part.size:
            raise ValueError(f"the window {tuple(window)} lies outside of the image of {im.shape[:2]}")
        result = self.crop_mean.copy()
        size = (rows.target.stop - rows.target.start, columns.target.stop - columns.target.start)
        result[rows.target, columns.target] = io.resize_image(part, size)
        return result


class _Span:
    """A range of an image's rows (or columns), and that of the input's which it fills."""

    def __init__(self, source, target):
        self.source = source
        self.target = target


def _padded_span(begin, end, extent, size, pad):
    """The rows [begin, end) with `pad` of `size` rows around them, cut to an image of `extent` rows."""
    scale = (end - begin) / (size - 2 * pad)  # rows of the image for one of the input
    first, last = round(begin - pad * scale), round(end + pad * scale)
    inside = slice(max(first, 0), min(last, extent))
    per_row = size / (last - first)
    target_first = min(round((inside.start - first) * per_row), size - 1)
    target_last = min(max(round((inside.stop - first) * per_row), target_first + 1), size)
    return _Span(inside, slice(target_first, target_last))
