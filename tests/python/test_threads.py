"""Python's threads: the interpreter runs on while the engine works, and no two threads are in one net."""

import threading
import time

import caffe
import numpy as np

HEAVY = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 16 dim: 32 dim: 96 dim: 96 } } }
layer { name: "a" type: "Convolution" bottom: "x" top: "a" convolution_param { num_output: 64 kernel_size: 7 pad: 3 } }
layer { name: "b" type: "Convolution" bottom: "a" top: "b" convolution_param { num_output: 64 kernel_size: 7 pad: 3 } }
"""


def test_other_threads_run_during_a_pass(make_net):
    net = make_net(HEAVY, caffe.TEST)
    net.forward()
    ended = threading.Event()
    took = []

    def work():
        start = time.perf_counter()
        net._forward(0, len(net.layers) - 1)
        took.append(time.perf_counter() - start)
        ended.set()

    thread = threading.Thread(target=work)
    longest, last = 0.0, time.perf_counter()
    thread.start()
    done = False
    while not done:
        done = ended.is_set()
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    thread.join(60)
    assert longest < 0.5 * took[0]


def test_blobs_can_be_read_while_another_thread_trains(solver_file):
    solver = caffe.get_solver(solver_file(), observed=[])
    solver.net.blobs["data"].data[...] = 0.5
    ended = threading.Event()

    def work():
        for _ in range(40):
            solver.step(1)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not ended.is_set():
        assert np.isfinite(solver.net.params["conv2"][0].data).all()
        assert np.isfinite(solver.net.blobs["loss"].data)
    thread.join(60)
    assert solver.iter == 40


def test_nets_of_several_threads_are_independent(make_net):
    nets = [make_net() for _ in range(3)]
    for net in nets[1:]:
        net.share_with(nets[0])
    data = np.random.default_rng(0).normal(size=(4, 3, 12, 12)).astype(np.float32)
    results = [None] * 3

    def work(index):
        net = nets[index]
        net.blobs["data"].data[...] = data * (index + 1)
        for _ in range(10):
            net.forward()
        results[index] = net.blobs["ip"].data.copy()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for index in range(3):
        nets[0].blobs["data"].data[...] = data * (index + 1)
        nets[0].forward()
        np.testing.assert_allclose(results[index], nets[0].blobs["ip"].data, rtol=1e-4, atol=1e-5)
