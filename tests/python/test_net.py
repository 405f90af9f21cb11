"""caffe.Net: construction, structure, running, weights."""

import pickle

import caffe
import numpy as np
import pytest
from conftest import CONV_NET

CHAIN = """
name: "chain"
input: "data" input_shape { dim: 4 dim: 3 }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } bias_filler { value: 0.5 } } }
layer { name: "tanh" type: "TanH" bottom: "ip" top: "tanh" }
layer { name: "sigmoid" type: "Sigmoid" bottom: "tanh" top: "out" }
layer { name: "drop" type: "Dropout" bottom: "out" top: "late" include { stage: "late" } }
"""


@pytest.fixture
def chain(make_net):
    return make_net("force_backward: true" + CHAIN, caffe.TEST)


def expected_chain(net, data):
    weights, bias = (blob.data for blob in net.params["ip"])
    return 1 / (1 + np.exp(-np.tanh(data @ weights.T + bias)))


def test_both_constructors_load_weights(make_net, chain, tmp_path):
    chain.save("w.caffemodel")
    (tmp_path / "chain.prototxt").write_text(CHAIN)
    new = caffe.Net("chain.prototxt", caffe.TEST, weights="w.caffemodel")
    old = caffe.Net("chain.prototxt", "w.caffemodel", caffe.TEST)
    fresh = caffe.Net("chain.prototxt", phase=caffe.TEST)
    for i in (0, 1):
        np.testing.assert_array_equal(new.params["ip"][i].data, chain.params["ip"][i].data)
        np.testing.assert_array_equal(old.params["ip"][i].data, chain.params["ip"][i].data)
    assert (fresh.params["ip"][0].data != chain.params["ip"][0].data).any()


def test_stages_choose_layers(make_net):
    assert "drop" not in make_net(CHAIN, caffe.TEST).layer_dict
    assert "drop" in make_net(CHAIN, caffe.TEST, level=0, stages=["late"]).layer_dict


def test_constructor_arguments_are_checked(make_net):
    for arguments in [{"phase": None}, {"phase": caffe.TEST, "wieghts": "x"}]:
        with pytest.raises(TypeError):
            caffe.Net("x.prototxt", **arguments)
    with pytest.raises(TypeError):
        caffe.Net("x.prototxt", caffe.TEST, phase=caffe.TEST)


def test_structure(chain):
    assert chain.name == "chain"
    assert chain.inputs == ["data"] and chain.outputs == ["out"]
    assert list(chain.blobs) == list(chain._blob_names) == ["data", "ip", "tanh", "out"]
    assert list(chain._layer_names) == ["input", "ip", "tanh", "sigmoid"]
    assert [layer.type for layer in chain.layers] == ["Input", "InnerProduct", "TanH", "Sigmoid"]
    assert chain.layer_dict["tanh"].type == "TanH"
    assert list(chain.params) == ["ip"] and len(chain.params["ip"]) == len(chain.layers[1].blobs) == 2
    assert chain.top_names["ip"] == ["ip"] and chain.bottom_names["sigmoid"] == ["tanh"]
    assert chain.bottom_names["input"] == []


def test_blobs_tell_their_shape(make_net):
    blob = make_net().blobs["conv1"]
    assert tuple(blob.shape) == (4, 16, 12, 12) and blob.count == 4 * 16 * 12 * 12
    assert (blob.num, blob.channels, blob.height, blob.width) == (4, 16, 12, 12)
    blob.reshape(3, 5)
    assert (blob.num, blob.channels, blob.height, blob.width) == (3, 5, 1, 1)
    blob.reshape(1, 2, 3, 4, 5)
    with pytest.raises(caffe.CaffeError, match="use shape"):
        print(blob.num)


def test_loss_weights(make_net):
    weights = make_net().blob_loss_weights
    assert weights["loss"] == 1 and weights["ip"] == 0


def test_forward_takes_and_gives_arrays(chain):
    data = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    out = chain.forward(data=data)
    assert list(out) == ["out"]
    np.testing.assert_allclose(out["out"], expected_chain(chain, data), rtol=1e-5)
    out = chain.forward(blobs=["ip"], data=data)
    assert set(out) == {"out", "ip"}


def test_forward_over_some_layers(chain):
    chain.blobs["data"].data[...] = 1
    chain.forward()
    chain.blobs["tanh"].data[...] = 0
    assert list(chain.forward(start="sigmoid")) == ["out"]
    np.testing.assert_allclose(chain.blobs["out"].data, 0.5)
    chain.blobs["out"].data[...] = 7
    assert list(chain.forward(end="tanh")) == ["tanh"]
    assert (chain.blobs["out"].data == 7).all() and chain.blobs["tanh"].data.any()


def test_backward_gives_gradients(chain):
    data = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    out = chain.forward(data=data)["out"].copy()
    diff = np.random.default_rng(1).normal(size=out.shape).astype(np.float32)
    got = chain.backward(out=diff)
    assert list(got) == ["data"]
    tanh = chain.blobs["tanh"].data
    expected = (diff * out * (1 - out) * (1 - tanh**2)) @ chain.params["ip"][0].data
    np.testing.assert_allclose(got["data"], expected, rtol=1e-4, atol=1e-6)
    assert set(chain.backward(diffs=["ip"], end="ip", out=diff)) == {"ip", "data"}


def test_arrays_must_fit(chain):
    with pytest.raises(ValueError, match="nix"):
        chain.forward(nix=np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"\(5, 3\)"):
        chain.forward(data=np.zeros((5, 3)))
    with pytest.raises(ValueError, match="there is no layer 'nix'"):
        chain.forward(start="nix")
    with pytest.raises(ValueError, match="nix"):
        chain.backward(nix=np.zeros((4, 2)))


def test_forward_all_runs_any_number_of_rows(chain):
    data = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    out = chain.forward_all(data=data, blobs=["tanh"])
    assert out["out"].shape == (10, 2) and out["tanh"].shape == (10, 2)
    np.testing.assert_allclose(out["out"], expected_chain(chain, data), rtol=1e-5)


def test_forward_backward_all(chain):
    generator = np.random.default_rng(0)
    data, diff = generator.normal(size=(6, 3)), generator.normal(size=(6, 2))
    out, diffs = chain.forward_backward_all(data=data, out=diff)
    assert out["out"].shape == (6, 2) and diffs["data"].shape == (6, 3)
    chain.forward(data=data[:4])
    np.testing.assert_allclose(chain.backward(out=diff[:4])["data"], diffs["data"][:4], rtol=1e-5, atol=1e-7)


def test_a_reshaped_input_is_followed_by_the_next_forward(chain):
    chain.blobs["data"].reshape(7, 3)
    data = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_allclose(chain.forward(data=data)["out"], expected_chain(chain, data), rtol=1e-5)
    chain.blobs["data"].reshape(2, 3)
    chain.reshape()
    assert chain.blobs["out"].shape == (2, 2)


def test_reshaping_to_a_shape_that_does_not_fit_names_the_layer(chain):
    chain.blobs["data"].reshape(4, 5)
    with pytest.raises(caffe.CaffeError, match=r"\[layer ip \(InnerProduct\)\]"):
        chain.forward()


@pytest.mark.parametrize("name", ["w.caffemodel", "w.caffemodel.h5"])
def test_weights_are_saved_and_loaded(make_net, name):
    net, other = make_net(), make_net()
    net.save(name)
    other.copy_from(name)
    for layer in net.params:
        for a, b in zip(net.params[layer], other.params[layer], strict=True):
            np.testing.assert_array_equal(a.data, b.data)


def test_hdf5_under_any_name(make_net):
    net, other, third = make_net(), make_net(), make_net()
    net.save_hdf5("weights")
    other.load_hdf5("weights")
    third.copy_from("weights")
    for reader in (other, third):
        np.testing.assert_array_equal(net.params["conv1"][0].data, reader.params["conv1"][0].data)


def test_shared_weights_are_one_memory(make_net):
    net, other = make_net(), make_net()
    other.share_with(net)
    net.params["conv1"][0].data[...] = 3
    assert (other.params["conv1"][0].data == 3).all()
    del net
    assert (other.params["conv1"][0].data == 3).all()


@pytest.mark.parametrize(
    "weights",
    [
        "snap/lenet_tiny_iter_20.caffemodel",
        "snap/lenet_tiny_h5_iter_20.caffemodel.h5",
        "lenet_tiny_legacy4d.caffemodel",
        "lenet_tiny_v1.caffemodel",
    ],
)
@pytest.mark.parametrize("observed", [None, []], ids=["all observed", "production plan"])
def test_files_that_real_caffe_wrote_give_its_outputs(golden, weights, observed):
    folder = golden("formats")
    expected = np.load(folder / "deploy_expected.npz")
    net = caffe.Net(
        str(folder / "lenet_tiny_deploy.prototxt"), caffe.TEST, weights=str(folder / weights), observed=observed
    )
    net.forward(data=expected["data"])
    for name in expected.files if observed is None else ["prob"]:
        np.testing.assert_allclose(net.blobs[name].data, expected[name], rtol=1e-4, atol=1e-5)


MEMORY = """
layer { name: "m" type: "MemoryData" top: "data" top: "label"
  memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 } }
"""


def test_memory_data_reads_arrays(make_net):
    net = make_net(MEMORY, caffe.TEST)
    data = np.arange(24, dtype=np.float32).reshape(4, 1, 2, 3)
    net.set_input_arrays(data.copy(), np.array([5, 6, 7, 8], np.float32))
    for start in (0, 2, 0):
        net.forward()
        np.testing.assert_array_equal(net.blobs["data"].data, data[start : start + 2])
        assert net.blobs["label"].data.ravel().tolist() == [5 + start, 6 + start]
    with pytest.raises(caffe.CaffeError, match="batch_size"):
        net.set_input_arrays(data[:3], np.zeros(3))
    with pytest.raises(caffe.CaffeError, match="axis 3"):
        net.set_input_arrays(np.zeros((2, 1, 2, 4)), np.zeros(2))
    with pytest.raises(ValueError, match="labels"):
        net.set_input_arrays(data, np.zeros(3))


def test_errors_say_where_and_what(make_net, tmp_path):
    with pytest.raises(caffe.CaffeError, match=r"Unknown layer type: Foo \(known types: ") as caught:
        make_net('layer { name: "a" type: "Foo" top: "x" }')
    assert caught.value.code == "invalid_argument" and isinstance(caught.value, RuntimeError)
    with pytest.raises(caffe.CaffeError, match=r"bad.prototxt:2:\d+"):
        (tmp_path / "bad.prototxt").write_text('name: "x"\nlayer { nmae: "y" }')
        caffe.Net("bad.prototxt", caffe.TEST)
    with pytest.raises(caffe.CaffeError, match="nowhere.prototxt") as caught:
        caffe.Net("nowhere.prototxt", caffe.TEST)
    assert caught.value.code == "io"
    with pytest.raises(caffe.CaffeError, match="nowhere.caffemodel"):
        make_net(CONV_NET).copy_from("nowhere.caffemodel")


def test_a_net_is_not_pickled(make_net):
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(make_net())


def test_the_seed_decides_the_weights(make_net, monkeypatch):
    monkeypatch.setattr(caffe.mode, "_seed", None)
    assert (make_net().params["conv1"][0].data != make_net().params["conv1"][0].data).any()
    caffe.set_random_seed(5)
    first = make_net().params["conv1"][0].data
    np.testing.assert_array_equal(first, make_net().params["conv1"][0].data)
    caffe.set_random_seed(6)
    assert (first != make_net().params["conv1"][0].data).any()
    with pytest.raises(ValueError):
        caffe.set_random_seed(-1)


def test_there_is_no_gpu():
    caffe.set_mode_cpu()
    with pytest.raises(caffe.CaffeError, match="set_mode_cpu"):
        caffe.set_mode_gpu()
    with pytest.raises(caffe.CaffeError, match="GPU 0"):
        caffe.set_device(0)


def test_there_is_one_solver_and_no_nccl():
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    caffe.set_multiprocess(True)
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (1, 0, False)
    for use in (
        lambda: caffe.set_solver_count(2),
        lambda: caffe.set_solver_rank(1),
        lambda: caffe.NCCL(None, b""),
        caffe.NCCL.new_uid,
    ):
        with pytest.raises(caffe.CaffeError, match="use CaffeOnSpark, which trains with several workers"):
            use()


def test_a_timer_measures_milliseconds():
    timer = caffe.Timer()
    for use in (timer.stop, lambda: timer.ms):
        with pytest.raises(RuntimeError, match=r"call start\(\)"):
            use()
    timer.start()
    running = timer.ms
    timer.stop()
    assert 0 <= running <= timer.ms == timer.ms < 60_000


def test_names_of_pycaffe_are_where_programs_look_for_them():
    import caffe.pycaffe

    assert caffe.pycaffe.Net is caffe.Net and caffe.pycaffe.SGDSolver is caffe.SGDSolver
    assert callable(caffe.net_spec.assign_proto) and callable(caffe.net_spec.param_name_dict)


def test_what_the_package_tells_of_itself():
    assert {"Convolution", "SoftmaxWithLoss"} <= set(caffe.layer_type_list())
    assert "SGD" in caffe.solver_type_list()
    assert caffe.TRAIN == 0 and caffe.TEST == 1
    assert caffe.__version__.count(".") == 2


def test_the_plan_is_printed(make_net):
    assert "conv1" in make_net().plan()


def test_callbacks_see_every_layer_in_order(chain):
    seen = []
    for moment in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(chain, moment)(lambda layer, moment=moment: seen.append((moment, layer)))
    chain.forward()
    chain.backward()
    layers = range(len(chain.layers))
    expected = [(moment, i) for i in layers for moment in ("before_forward", "after_forward")]
    expected += [(moment, i) for i in reversed(layers) for moment in ("before_backward", "after_backward")]
    assert seen == expected


def test_what_a_callback_writes_is_what_the_next_layer_reads(chain):
    def change(layer):
        if chain._layer_names[layer] == "ip":
            chain.blobs["ip"].data[...] = 0.25

    chain.after_forward(change)
    chain.blobs["data"].data[...] = 1
    out = chain.forward()["out"]
    np.testing.assert_allclose(out, 1 / (1 + np.exp(-np.tanh(0.25))), 1e-6)


def test_what_a_callback_raises_ends_the_pass(chain):
    def stop(layer):
        raise LookupError("enough")

    chain.before_forward(stop)
    with pytest.raises(LookupError, match="enough"):
        chain.forward()
