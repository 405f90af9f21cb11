"""Layers written in Python, for test_python_layer.py."""

import caffe
import numpy as np


class Times(caffe.Layer):
    """Multiplies by param_str."""

    def setup(self, bottom, top):
        self.factor = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.factor * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        assert propagate_down == [True]
        bottom[0].diff[...] = self.factor * top[0].diff


class Linear(caffe.Layer):
    """y = x w' + b, with learned w and b, as InnerProduct without a bias multiplier."""

    def setup(self, bottom, top):
        outputs, inputs = int(self.param_str), bottom[0].shape[1]
        self.blobs.add_blob(outputs, inputs)
        self.blobs.add_blob(outputs)
        self.blobs[0].data[...] = np.linspace(-1, 1, outputs * inputs).reshape(outputs, inputs)

    def reshape(self, bottom, top):
        top[0].reshape(bottom[0].shape[0], self.blobs[0].shape[0])

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data @ self.blobs[0].data.T + self.blobs[1].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += top[0].diff.T @ bottom[0].data
        self.blobs[1].diff[...] += top[0].diff.sum(0)
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff @ self.blobs[0].data


class HoldingLinear(Linear):
    """Holds views of what it was given in setup()."""

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.weights, self.bottom = self.blobs[0].data, bottom[0].data

    def forward(self, bottom, top):
        top[0].data[...] = self.bottom @ self.weights.T


class HalfSquare(caffe.Layer):
    """The loss sum (a - b)^2 / 2N: EuclideanLoss."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("need two bottoms")

    def reshape(self, bottom, top):
        self.difference = np.zeros(bottom[0].shape, np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.difference[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.difference**2) / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * top[0].diff[0] * self.difference / bottom[i].num


class Counter(caffe.Layer):
    """A data layer, whose batches have 1, 2, 3, 1, ... rows: it chooses them in reshape, as some layers for Caffe do."""

    def setup(self, bottom, top):
        self.batch = 0

    def reshape(self, bottom, top):
        self.rows = self.batch % 3 + 1
        top[0].reshape(self.rows, 2)

    def forward(self, bottom, top):
        top[0].data[...] = self.batch
        self.batch += 1

    def backward(self, top, propagate_down, bottom):
        pass


class Chosen(caffe.Layer):
    """The rows that are above zero: as many as there are, which only forward knows."""

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        rows = bottom[0].data[bottom[0].data[:, 0] > 0]
        top[0].reshape(*rows.shape)
        top[0].data[...] = rows


class Phase(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[()] = self.phase


class Failing(caffe.Layer):
    """Raises what param_str says, as METHOD:EXCEPTION."""

    def _fail_in(self, method):
        where, what = self.param_str.split(":")
        if where == method:
            raise eval(what)

    def setup(self, bottom, top):
        self._fail_in("setup")

    def reshape(self, bottom, top):
        self._fail_in("reshape")
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self._fail_in("forward")

    def backward(self, top, propagate_down, bottom):
        self._fail_in("backward")


class LateParameter(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.blobs.add_blob(1)


class Keeper(caffe.Layer):
    """Keeps its bottoms and tops."""

    def setup(self, bottom, top):
        self.bottom, self.top = bottom, top

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self.top[0].data[...] = self.bottom[0].data + 1


class Plain:
    """Not a layer."""
