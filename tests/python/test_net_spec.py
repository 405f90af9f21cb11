"""caffe.NetSpec: net files written in Python."""

import caffe
import pytest
from caffe import layers as L  # noqa: N812
from caffe import params as P  # noqa: N812
from caffe.proto import caffe_pb2
from google.protobuf import text_format


def lenet(batch_size=8):
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(
        shape=[dict(dim=[batch_size, 1, 28, 28]), dict(dim=[batch_size])],
        transform_param=dict(scale=1.0 / 255),
        ntop=2,
    )
    n.conv1 = L.Convolution(
        n.data,
        kernel_size=5,
        num_output=20,
        weight_filler=dict(type="xavier"),
        param=[dict(lr_mult=1), dict(lr_mult=2)],
    )
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=50, weight_filler=dict(type="xavier"), param=dict(lr_mult=0))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label, loss_param=dict(ignore_label=3))
    return n


def test_settings_go_where_they_belong():
    layers = {layer.name: layer for layer in lenet().to_proto().layer}
    assert list(layers) == ["data", "conv1", "pool1", "ip1", "relu1", "ip2", "loss"]
    data = layers["data"]
    assert data.type == "DummyData" and list(data.top) == ["data", "label"]
    assert [list(shape.dim) for shape in data.dummy_data_param.shape] == [[8, 1, 28, 28], [8]]
    conv = layers["conv1"]
    assert list(conv.bottom) == ["data"] and list(conv.convolution_param.kernel_size) == [5]
    assert conv.convolution_param.weight_filler.type == "xavier"
    assert [param.lr_mult for param in conv.param] == [1, 2]
    assert [param.lr_mult for param in layers["ip1"].param] == [0]
    assert layers["pool1"].pooling_param.pool == caffe_pb2.PoolingParameter.MAX
    assert layers["loss"].loss_param.ignore_label == 3


def test_a_layer_in_place_has_its_input_as_output():
    layers = {layer.name: layer for layer in lenet().to_proto().layer}
    assert list(layers["relu1"].bottom) == list(layers["relu1"].top) == ["ip1"]
    assert list(layers["ip2"].bottom) == ["ip1"]


def test_the_text_is_a_net_that_runs(tmp_path):
    text = str(lenet().to_proto())
    assert text_format.Parse(text, caffe_pb2.NetParameter()) == lenet().to_proto()
    (tmp_path / "lenet.prototxt").write_text(text)
    net = caffe.Net("lenet.prototxt", caffe.TRAIN)
    net.forward()
    assert net.blobs["ip2"].data.shape == (8, 10)


def test_names_that_were_not_given_are_the_type_and_a_number():
    data = L.Input(shape=dict(dim=[1, 2]))
    top = data
    for _ in range(3):
        top = L.InnerProduct(top, num_output=2)
    net = caffe.to_proto(top)
    assert [layer.name for layer in net.layer] == ["Input1", "InnerProduct1", "InnerProduct2", "InnerProduct3"]
    assert list(net.layer[2].bottom) == ["InnerProduct1"]


def test_a_layer_without_tops_is_kept():
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 2]))
    n.silence = L.Silence(n.data, ntop=0)
    net = n.to_proto()
    assert [(layer.name, layer.type) for layer in net.layer] == [("data", "Input"), ("silence", "Silence")]
    assert not net.layer[1].top


def test_tops_by_item_and_deletion():
    n = caffe.NetSpec()
    n["data"] = L.Input(shape=dict(dim=[1, 2]))
    n.tanh = L.TanH(n["data"], name="other")
    assert [layer.name for layer in n.to_proto().layer] == ["data", "other"]
    del n.tanh
    assert [layer.name for layer in n.to_proto().layer] == ["data"]
    with pytest.raises(AttributeError, match="tanh"):
        print(n.tanh)


def test_mistakes_are_named():
    data = L.Input(shape=dict(dim=[1, 2]))
    with pytest.raises(TypeError, match="^Eltwise input 1 is not a Top"):
        L.Eltwise(data, "data")
    with pytest.raises(AttributeError, match="nix"):
        caffe.to_proto(L.Pooling(data, nix=3))
    with pytest.raises(TypeError, match="in place"):
        L.Eltwise(data, data, in_place=True)
    with pytest.raises(AttributeError, match="NixParameter"):
        print(P.Nix)


def test_deep_nets_do_not_exhaust_the_stack():
    top = L.Input(shape=dict(dim=[1, 2]))
    for _ in range(3000):
        top = L.TanH(top)
    assert len(caffe.to_proto(top).layer) == 3001
