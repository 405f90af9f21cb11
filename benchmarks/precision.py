"""Trains nets in float32 and in bf16 and compares how well they learn: LeNet on MNIST, CIFAR10-quick and a small ResNet
on CIFAR-10, from the same seeds on the same batches. Results, the accuracy of every run on the test pictures, go to
benchmarks/results/precision.json.

usage: benchmarks/precision.py [--data FOLDER] [--work FOLDER] [--nets NET...] [--seeds N] [--part F] [--output FILE]

FOLDER holds mnist/*.gz and cifar10-jpeg.tar.gz (train|test/CLASS/NNNN.jpg). With --part iterations are fewer.
"""

import argparse
import gzip
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

import caffe

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = pathlib.Path(sys.executable).parent
PHASES = (("TRAIN", "train"), ("TEST", "test"))


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")


def mnist_stores(data, work):
    for part, files in (("train", "train"), ("test", "t10k")):
        plain = []
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            plain.append(work / f"{files}-{kind}")
            with gzip.open(data / "mnist" / f"{files}-{kind}.gz") as packed:
                plain[-1].write_bytes(packed.read())
        run(TOOLS / "convert_mnist_data", *plain, work / f"mnist_{part}_lmdb")


def cifar_stores(data, work):
    with tarfile.open(data / "cifar10-jpeg.tar.gz") as pictures:
        pictures.extractall(work)
    for part in ("train", "test"):
        classes = sorted(folder.name for folder in (work / part).iterdir())
        files = [
            f"{file.relative_to(work / part)} {classes.index(file.parent.name)}"
            for file in (work / part).rglob("*.jpg")
        ]
        (work / f"{part}.txt").write_text("\n".join(sorted(files)) + "\n")
        run(
            TOOLS / "convert_imageset", "-shuffle", f"{work / part}/", work / f"{part}.txt", work / f"cifar_{part}_lmdb"
        )
    run(TOOLS / "compute_image_mean", work / "cifar_train_lmdb", work / "mean.binaryproto")


def data_layers(store, batches, transform):
    text = ""
    for phase, part in PHASES:
        text += f"""layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: {phase} }}
            data_param {{ source: "{store}_{part}_lmdb" backend: LMDB batch_size: {batches[phase]} }}
            transform_param {{ {transform[phase]} }} }}
        """
    return text


def losses(bottom):
    return f"""layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "{bottom}" bottom: "label" top: "loss" }}
        layer {{ name: "accuracy" type: "Accuracy" bottom: "{bottom}" bottom: "label" top: "accuracy"
            include {{ phase: TEST }} }}
    """


def body_of(net):
    """The layers of a net of nets/ between its Input layers and its loss."""
    layers = (HERE / "nets" / f"{net}.prototxt").read_text().split("\nlayer ")
    kept = [
        layer for layer in layers[1:] if not any(f'type: "{kind}"' in layer for kind in ("Input", "SoftmaxWithLoss"))
    ]
    return "".join(f"layer {layer}\n" for layer in kept)


def convolution(name, bottom, outputs, size, stride, relu):
    text = f"""layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{
            num_output: {outputs} kernel_size: {size} stride: {stride} pad: {size // 2} bias_term: false
            weight_filler {{ type: "msra" }} }} }}
        layer {{ name: "{name}_bn" type: "BatchNorm" bottom: "{name}" top: "{name}"
            batch_norm_param {{ moving_average_fraction: 0.95 }} }}
        layer {{ name: "{name}_scale" type: "Scale" bottom: "{name}" top: "{name}" scale_param {{ bias_term: true }} }}
    """
    return text + (f'layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}' if relu else "")


def resnet8():
    text, bottom = convolution("first", "data", 16, 3, 1, True), "first"
    for stage, width in enumerate((16, 32, 64)):
        name, stride = f"stage{stage}", 1 if stage == 0 else 2
        text += convolution(name + "_a", bottom, width, 3, stride, True)
        text += convolution(name + "_b", name + "_a", width, 3, 1, False)
        if stride > 1:
            text += convolution(name + "_side", bottom, width, 1, stride, False)
            bottom = name + "_side"
        text += f"""layer {{ name: "{name}" type: "Eltwise" bottom: "{bottom}" bottom: "{name}_b" top: "{name}" }}
            layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}
        """
        bottom = name
    return (
        text
        + f"""layer {{ name: "mean" type: "Pooling" bottom: "{bottom}" top: "mean"
            pooling_param {{ pool: AVE global_pooling: true }} }}
        layer {{ name: "scores" type: "InnerProduct" bottom: "mean" top: "scores" inner_product_param {{ num_output: 10
            weight_filler {{ type: "msra" }} }} }}
        """
        + losses("scores")
    )


def lenet(work):
    scale = {"TRAIN": "scale: 0.00390625", "TEST": "scale: 0.00390625"}
    net = data_layers(work / "mnist", {"TRAIN": 64, "TEST": 100}, scale) + body_of("lenet") + losses("ip2")
    return net, 4000, 'base_lr: 0.01 lr_policy: "inv" gamma: 0.0001 power: 0.75 momentum: 0.9 weight_decay: 0.0005'


def cifar10_quick(work):
    mean = f'mean_file: "{work}/mean.binaryproto"'
    net = data_layers(work / "cifar", {"TRAIN": 100, "TEST": 100}, {"TRAIN": mean, "TEST": mean})
    net += body_of("cifar10_quick") + losses("ip2")
    return (
        net,
        5000,
        'base_lr: 0.001 lr_policy: "multistep" stepvalue: {4/5} gamma: 0.1 momentum: 0.9 weight_decay: 0.004',
    )


def small_resnet(work):
    common = "crop_size: 28 mean_value: 120 scale: 0.0156"
    transform = {"TRAIN": common + " mirror: true", "TEST": common}
    net = data_layers(work / "cifar", {"TRAIN": 100, "TEST": 100}, transform) + resnet8()
    rate = 'base_lr: 0.1 lr_policy: "multistep" stepvalue: {1/2} stepvalue: {3/4} stepvalue: {9/10} gamma: 0.2'
    return net, 5000, rate + " momentum: 0.9 weight_decay: 0.0005"


NETS = {"lenet": lenet, "cifar10_quick": cifar10_quick, "small_resnet": small_resnet}


def solver_file(work, name, seed, part):
    net, iterations, rate = NETS[name](work)
    iterations = max(1, int(iterations * part))
    for step in ("4/5", "1/2", "3/4", "9/10"):
        above, below = map(int, step.split("/"))
        rate = rate.replace("{" + step + "}", str(iterations * above // below))
    (work / f"{name}.prototxt").write_text(f'name: "{name}"\n{net}')
    path = work / f"{name}_solver_{seed}.prototxt"
    path.write_text(
        f'net: "{work}/{name}.prototxt" {rate}\n'
        f"test_iter: 100 test_interval: {iterations + 1} test_initialization: false\n"
        f"max_iter: {iterations} random_seed: {seed} snapshot_after_train: false solver_mode: CPU\n"
    )
    return path


def train(path, precision):
    """The accuracy on the test pictures, and seconds of training."""
    solver = caffe.get_solver(str(path), observed=[], precision=precision)
    start = time.perf_counter()
    solver.solve()
    seconds = time.perf_counter() - start
    solver.test_nets[0].share_with(solver.net)
    accuracy = [float(solver.test_nets[0].forward()["accuracy"]) for _ in range(100)]
    return statistics.fmean(accuracy), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = os.environ.get("CAFFE_TEST_DATA", HERE.parents[1] / "shared" / "data")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(default))
    parser.add_argument("--work", type=pathlib.Path, help="keeps the stores here")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", type=float, default=1)
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "results" / "precision.json")
    arguments = parser.parse_args()
    work = (arguments.work or pathlib.Path(tempfile.mkdtemp())).resolve()
    work.mkdir(parents=True, exist_ok=True)
    if "lenet" in arguments.nets and not (work / "mnist_test_lmdb").exists():
        mnist_stores(arguments.data, work)
    if set(arguments.nets) - {"lenet"} and not (work / "mean.binaryproto").exists():
        cifar_stores(arguments.data, work)
    results = []
    for name in arguments.nets:
        result = {"net": name, "accuracy": {"f32": [], "bf16": []}, "seconds": {"f32": [], "bf16": []}}
        for seed in range(1, arguments.seeds + 1):
            for precision in ("f32", "bf16") if seed % 2 else ("bf16", "f32"):
                accuracy, seconds = train(solver_file(work, name, seed, arguments.part), precision)
                result["accuracy"][precision].append(accuracy)
                result["seconds"][precision].append(seconds)
                print(f"{name} seed {seed} {precision}: accuracy {accuracy:.4f}, {seconds:.1f} s", flush=True)
        means = {precision: statistics.fmean(values) for precision, values in result["accuracy"].items()}
        result["difference"] = means["bf16"] - means["f32"]
        print(
            f"{name}: f32 {means['f32']:.4f}, bf16 {means['bf16']:.4f}, difference {result['difference']:+.4f}",
            flush=True,
        )
        results.append(result)
    report = {
        "what": "accuracy on the test pictures after training in float32 and in bf16, by seed",
        "results": results,
    }
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {arguments.output}")
    if not arguments.work:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
