"""Layers of Caffe's forks against OpenCV's dnn module and against their formulas written with numpy."""

from pathlib import Path

import caffe
import cv2
import numpy as np
import pytest

RANDOM = np.random.default_rng(1)


def head(**inputs):
    """The input declarations of a net."""
    text = ""
    for name, array in inputs.items():
        text += f'input: "{name}" input_shape {{ {" ".join(f"dim: {n}" for n in array.shape)} }}\n'
    return text


def layer(kind, bottoms, more=""):
    return (
        f'layer {{ name: "tested" type: "{kind}" top: "out" {" ".join(f"bottom: {b!r}" for b in bottoms)} {more} }}\n'
    )


def ours(make_net, text, inputs, **settings):
    net = make_net(text, caffe.TEST, **settings)
    for name, array in inputs.items():
        net.blobs[name].data[...] = array
    return net.forward()["out"].copy()


def opencv(text, inputs, weights=b""):
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8), np.frombuffer(weights, np.uint8))
    for name, array in inputs.items():
        net.setInput(np.ascontiguousarray(array, np.float32), name)
    return net.forward("tested").copy()


def values(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


SAME_AS_OPENCV = [
    ("Permute", (2, 3, 4, 5), "permute_param { order: 0 order: 2 order: 3 order: 1 }"),
    ("Permute", (2, 3, 4, 5), "permute_param { order: 0 order: 3 order: 1 order: 2 }"),
    ("ShuffleChannel", (2, 6, 4, 5), "shuffle_channel_param { group: 3 }"),
    ("ShuffleChannel", (2, 6, 4, 5), "shuffle_channel_param { group: 2 }"),
    ("Normalize", (2, 6, 4, 5), "norm_param { across_spatial: false channel_shared: true }"),
    ("Normalize", (2, 6, 4, 5), "norm_param { across_spatial: true channel_shared: true eps: 0.5 }"),
    ("Normalize", (2, 6, 4, 5), "norm_param { across_spatial: false channel_shared: false }"),
    ("Interp", (2, 3, 4, 5), "interp_param { zoom_factor: 4 }"),
    ("Interp", (2, 3, 4, 5), "interp_param { height: 9 width: 3 }"),
    ("Interp", (2, 3, 4, 5), "interp_param { height: 1 width: 1 }"),
    ("ConvolutionDepthwise", (2, 6, 7, 8), "convolution_param { num_output: 6 kernel_size: 3 pad: 1 stride: 2 }"),
    ("ConvolutionDepthwise", (2, 20, 9, 8), "convolution_param { num_output: 20 kernel_size: 3 dilation: 2 }"),
]


@pytest.mark.parametrize("kind, shape, more", SAME_AS_OPENCV)
def test_opencv_gives_the_same(make_net, kind, shape, more):
    inputs = {"data": values(*shape)}
    text = head(**inputs) + layer(kind, inputs, more)
    net = make_net(text, caffe.TEST)
    weights = b""
    for blob in net.params.get("tested", []):
        if blob.data.ndim > 0:  # OpenCV cannot read a scalar
            blob.data[...] = values(*blob.data.shape)
    net.save("weights.caffemodel")
    if any(blob.data.ndim > 0 for blob in net.params.get("tested", [])):
        weights = Path("weights.caffemodel").read_bytes()
    expected = opencv(text, inputs, weights)
    net.blobs["data"].data[...] = inputs["data"]
    np.testing.assert_allclose(net.forward()["out"], expected, rtol=1e-5, atol=1e-6)


def test_depthwise_convolutions_are_grouped_ones(make_net):
    """By all three names, with the vendor's kernels and without."""
    inputs = {"data": values(2, 16, 9, 9)}
    nets = [
        make_net(
            head(**inputs) + layer(kind, inputs, f"convolution_param {{ {group} kernel_size: 3 pad: 1 }}"), caffe.TEST
        )
        for kind, group in [
            ("Convolution", "num_output: 16 group: 16"),
            ("DepthwiseConvolution", "num_output: 16 group: 16"),
            ("ConvolutionDepthwise", "num_output: 16"),
            ("ConvolutionDepthwise", ""),
        ]
    ]
    for blob in nets[0].params["tested"]:
        blob.data[...] = values(*blob.data.shape)
    nets[0].save("weights.caffemodel")
    results = []
    for net in nets:
        net.copy_from("weights.caffemodel")
        net.blobs["data"].data[...] = inputs["data"]
        results.append(net.forward()["out"])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


# ---- PriorBox ----


def prior_boxes(rows, columns, image, sizes, steps, offset=0.5, clip=False, variance=(0.1,)):
    """The top of PriorBox: image (height, width), sizes [(width, height)] of one position, steps (y, x)."""
    boxes = []
    for y in (np.arange(rows) + offset) * steps[0]:
        for x in (np.arange(columns) + offset) * steps[1]:
            for width, height in sizes:
                corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
                boxes += [corner / extent for corner, extent in zip(corners, (image[1], image[0]) * 2, strict=True)]
    boxes = np.clip(boxes, 0, 1) if clip else np.array(boxes)
    return np.stack([boxes, np.resize(variance, len(boxes))])[None]


PRIORS = [
    ("min_size: 12 clip: false variance: 0.1", [(12, 12)], {}),
    ("min_size: 40 max_size: 90 clip: true variance: 0.1", [(40, 40), (60, 60)], {"clip": True}),
    (
        "min_size: 12 aspect_ratio: 4 aspect_ratio: 4 flip: true clip: false variance: 0.1",
        [(12, 12), (24, 6), (6, 24)],
        {},
    ),
    ("min_size: 12 aspect_ratio: 4 flip: false clip: false variance: 0.1", [(12, 12), (24, 6)], {}),
    (
        "min_size: 16 max_size: 25 aspect_ratio: 4 clip: false variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.3",
        [(16, 16), (20, 20), (32, 8), (8, 32)],
        {"variance": (0.1, 0.1, 0.2, 0.3)},
    ),
    ("min_size: 12 step: 7 offset: 0.25 clip: false variance: 0.1", [(12, 12)], {"steps": (7, 7), "offset": 0.25}),
    ("min_size: 12 step_h: 7 step_w: 9 variance: 0.5 clip: false", [(12, 12)], {"steps": (7, 9), "variance": (0.5,)}),
]


@pytest.mark.parametrize("settings, sizes, known", PRIORS)
def test_prior_boxes(make_net, settings, sizes, known):
    inputs = {"map": values(2, 4, 3, 5), "data": values(2, 3, 60, 80)}
    text = head(**inputs) + layer("PriorBox", inputs, f"prior_box_param {{ {settings} }}")
    found = ours(make_net, text, inputs)
    expected = prior_boxes(3, 5, (60, 80), sizes, **({"steps": (20, 16)} | known))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found, opencv(text, inputs), rtol=1e-6, atol=1e-6)


def test_prior_boxes_of_several_sizes_and_a_given_image(make_net):
    """What OpenCV cannot read: several sizes. Fractions of sizes are cut off, as in SSD."""
    inputs = {"map": values(1, 4, 2, 2), "data": values(1, 3, 8, 8)}
    settings = "min_size: 4.75 min_size: 9 max_size: 16.5 max_size: 25 img_h: 50 img_w: 100"
    found = ours(make_net, head(**inputs) + layer("PriorBox", inputs, f"prior_box_param {{ {settings} }}"), inputs)
    expected = prior_boxes(2, 2, (50, 100), [(4, 4), (8, 8), (9, 9), (15, 15)], (25, 50))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# ---- DetectionOutput ----

CODES = {
    "CORNER": lambda prior, size, p: prior + p,
    "CORNER_SIZE": lambda prior, size, p: prior + p * np.tile(size, 2),
    "CENTER_SIZE": lambda prior, size, p: np.concatenate(
        [(prior[:2] + prior[2:]) / 2 + p[:2] * size + sign * np.exp(p[2:]) * size / 2 for sign in (-1, 1)]
    ),
}


def overlap(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = sides.prod() if (sides > 0).all() else 0
    return both / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - both)


def detections(
    location, confidence, priors, code, threshold, top_k, keep, encoded, background=0, lowest=-np.inf, eta=1
):
    """The rows of one image: location (priors, classes or 1, 4), confidence (priors, classes), priors (2, priors, 4)."""
    kept = []
    for label in range(confidence.shape[1]):
        if label == background:
            continue
        chosen, limit = [], threshold
        order = [i for i in np.argsort(-confidence[:, label], kind="stable") if confidence[i, label] > lowest]
        for i in order[: top_k if top_k >= 0 else None]:
            predicted = location[i, label if location.shape[1] > 1 else 0] * (1 if encoded else priors[1, i])
            box = CODES[code](priors[0, i], priors[0, i, 2:] - priors[0, i, :2], predicted)
            if all(overlap(box, other[3]) <= limit for other in chosen):
                chosen.append((label, confidence[i, label], i, box))
                limit *= eta if limit > 0.5 else 1
        kept += chosen
    if 0 <= keep < len(kept):
        kept = sorted(sorted(kept, key=lambda d: -d[1])[:keep], key=lambda d: d[0])
    return [[label, score, *box] for label, score, _, box in kept]


def predictions(images, priors, classes, boxes_per_prior):
    corners = RANDOM.uniform(0, 0.6, (priors, 2))
    boxes = np.concatenate([corners, corners + RANDOM.uniform(0.1, 0.4, (priors, 2))], axis=1)
    variances = np.tile([0.1, 0.1, 0.2, 0.2], (priors, 1))
    count = images * priors * classes
    scores = (RANDOM.permutation(count) + 1) / (count + 1)
    return {
        "loc": 0.3 * values(images, priors * boxes_per_prior * 4),
        "conf": scores.reshape(images, priors * classes).astype(np.float32),
        "prior": np.stack([boxes.ravel(), variances.ravel()])[None].astype(np.float32),
    }


DETECTIONS = [
    {},
    {"code": "CENTER_SIZE"},
    {"code": "CENTER_SIZE", "encoded": True, "threshold": 0.6},
    {"encoded": True, "keep": 7},
    {"code": "CENTER_SIZE", "keep": 5, "top_k": 9, "lowest": 0.25},
    {"code": "CENTER_SIZE", "share": False, "threshold": 0.1},
    {"share": False, "background": -1, "keep": 20},
    {"code": "CENTER_SIZE", "lowest": 0.9},
    {"code": "CENTER_SIZE", "threshold": 0.9, "eta": 0.9},
    {"code": "CORNER_SIZE", "keep": 10, "background": 2},
]


@pytest.mark.parametrize("case", DETECTIONS)
@pytest.mark.parametrize("observed", [None, ["out"]])
def test_detections(make_net, case, observed):
    known = {"code": "CORNER", "threshold": 0.3, "top_k": -1, "keep": -1, "encoded": False} | case
    share = known.pop("share", True)
    images, priors, classes = 2, 30, 3
    inputs = predictions(images, priors, classes, 1 if share else classes)
    nms = f"nms_threshold: {known['threshold']} top_k: {known['top_k']} eta: {known.get('eta', 1)}"
    settings = f"num_classes: {classes} share_location: {str(share).lower()} nms_param {{ {nms} }}"
    settings += f" code_type: {known['code']} keep_top_k: {known['keep']}"
    settings += f" variance_encoded_in_target: {str(known['encoded']).lower()}"
    settings += f" background_label_id: {known.get('background', 0)}"
    if "lowest" in known:
        settings += f" confidence_threshold: {known['lowest']}"
    tested = layer("DetectionOutput", inputs, f"detection_output_param {{ {settings} }}")
    found = ours(make_net, head(**inputs) + tested, inputs, observed=observed)

    location = inputs["loc"].reshape(images, priors, -1, 4)
    confidence = inputs["conf"].reshape(images, priors, classes)
    anchors = inputs["prior"].reshape(2, priors, 4)
    expected = [
        [image, *row]
        for image in range(images)
        for row in detections(location[image], confidence[image], anchors, **known)
    ]
    assert found.shape == (1, 1, len(expected), 7)
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-5, atol=1e-6)
    if known["code"] != "CORNER_SIZE" and "eta" not in known:  # OpenCV does not know these
        if known["encoded"]:  # it then wants no variances
            inputs["prior"] = inputs["prior"][:, :1]
        tested = tested.replace("keep_top_k: -1", "keep_top_k: 500")  # for -1 it writes past its output
        other = opencv(head(**inputs) + tested, inputs).reshape(-1, 7)  # by falling score, filled up with zeros
        by_score = found[0, 0][np.lexsort((-found[0, 0, :, 2], found[0, 0, :, 0]))]
        np.testing.assert_allclose(by_score, other[: len(expected)], rtol=1e-5, atol=1e-6)
        assert (other[len(expected) :] == 0).all()


def test_without_detections_there_is_one_row_for_each_image(make_net):
    """SSD's fork says so. What comes after follows the number of detections from batch to batch."""
    inputs = predictions(2, 10, 3, 1)
    settings = "num_classes: 3 confidence_threshold: 0.5"
    text = head(**inputs) + layer("DetectionOutput", inputs, f"detection_output_param {{ {settings} }}")
    text = text.replace('top: "out"', 'top: "found"')
    text += 'layer { name: "twice" type: "Power" bottom: "found" top: "out" power_param { scale: 2 } }'
    net = make_net(text, caffe.TEST)
    for name, array in inputs.items():
        net.blobs[name].data[...] = array
    some = net.forward()["out"].copy()
    assert some.shape[2] > 2
    net.blobs["conf"].data[...] = 0.5  # not above the threshold
    np.testing.assert_array_equal(net.forward()["out"], [[[[0] + [-2] * 6, [2] + [-2] * 6]]])
    net.blobs["conf"].data[...] = np.nan
    assert net.forward()["out"].shape == (1, 1, 2, 7)
    net.blobs["conf"].data[...] = inputs["conf"]
    np.testing.assert_array_equal(net.forward()["out"], some)


def test_a_prior_without_area_is_an_error(make_net):
    inputs = predictions(1, 10, 2, 1)
    inputs["prior"][0, 0, 14] = inputs["prior"][0, 0, 12]
    text = head(**inputs) + layer(
        "DetectionOutput", inputs, "detection_output_param { num_classes: 2 code_type: CENTER_SIZE }"
    )
    with pytest.raises(caffe.CaffeError, match=r"tested \(DetectionOutput\)\] found prior 3 from .* no area"):
        ours(make_net, text, inputs)


# ---- ROIPooling, Interp, Upsample ----


def test_regions_are_pooled(make_net):
    data = values(2, 3, 13, 17)
    regions = np.array(
        [
            [0, 0, 0, 135, 103],
            [1, 20, 30, 90, 77],
            [0, 100, 50, 60, 20],
            [1, 130, 90, 300, 200],
            [1, 300, 300, 400, 400],
        ],
        np.float32,
    )
    inputs = {"data": data, "rois": regions}
    settings = "roi_pooling_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.125 }"
    text = head(**inputs) + layer("ROIPooling", inputs, settings)
    found = ours(make_net, text, inputs)
    expected = np.zeros((5, 3, 3, 4), np.float32)
    for r, (image, *corners) in enumerate(regions):
        x1, y1, x2, y2 = (int(np.floor(corner / 8 + 0.5)) for corner in corners)
        high, wide = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        for i in range(3):
            for j in range(4):
                rows = slice(max(y1 + i * high // 3, 0), max(y1 + -(-(i + 1) * high // 3), 0))
                columns = slice(max(x1 + j * wide // 4, 0), max(x1 + -(-(j + 1) * wide // 4), 0))
                cell = data[int(image), :, rows, columns]
                expected[r, :, i, j] = cell.max(axis=(1, 2)) if cell.size else 0
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, opencv(text, inputs))


@pytest.mark.parametrize("row, said", [((2, 0, 0, 1, 1), "found index 2"), ((0, 0, np.nan, 1, 1), "found nan as a")])
def test_regions_outside_of_the_data_are_errors(make_net, row, said):
    inputs = {"data": values(2, 3, 4, 4), "rois": np.array([[0, 0, 0, 1, 1], row], np.float32)}
    text = head(**inputs) + layer("ROIPooling", inputs, "roi_pooling_param { pooled_h: 2 pooled_w: 2 }")
    with pytest.raises(caffe.CaffeError, match=said):
        ours(make_net, text, inputs)


def test_interp_takes_its_size_from_a_second_bottom_and_cuts_borders(make_net):
    inputs = {"data": values(2, 3, 6, 7), "like": values(2, 1, 9, 5)}
    found = ours(make_net, head(**inputs) + layer("Interp", inputs, "interp_param { pad_beg: -1 pad_end: -2 }"), inputs)
    cut = {"data": inputs["data"][:, :, 1:-2, 1:-2]}
    expected = opencv(head(**cut) + layer("Interp", cut, "interp_param { height: 9 width: 5 }"), cut)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_interp_shrinks_by_leaving_out_pixels(make_net):
    inputs = {"data": values(2, 3, 7, 10)}
    found = ours(make_net, head(**inputs) + layer("Interp", inputs, "interp_param { shrink_factor: 3 }"), inputs)
    np.testing.assert_allclose(found, inputs["data"][:, :, ::3, ::3], rtol=1e-5, atol=1e-6)


def test_upsample_repeats_pixels(make_net):
    inputs = {"data": values(2, 3, 2, 4)}
    found = ours(make_net, head(**inputs) + layer("Upsample", inputs, "upsample_param { scale: 3 }"), inputs)
    np.testing.assert_array_equal(found, inputs["data"].repeat(3, axis=2).repeat(3, axis=3))


def test_upsample_puts_pixels_where_pooling_took_them(make_net):
    inputs = {"data": values(2, 3, 5, 6)}
    text = head(**inputs) + (
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" top: "mask"'
        " pooling_param { kernel_size: 2 stride: 2 } }"
    )
    text += layer("Upsample", ["pool", "mask"], "upsample_param { scale: 2 pad_out_h: true }")
    found = ours(make_net, text, inputs)
    expected = np.zeros_like(inputs["data"])
    for i in range(0, 5, 2):
        for j in range(0, 6, 2):
            window = inputs["data"][:, :, i : i + 2, j : j + 2]
            expected[:, :, i : i + 2, j : j + 2] = window * (window == window.max(axis=(2, 3), keepdims=True))
    np.testing.assert_array_equal(found, expected)


def test_a_mask_of_another_size_is_an_error(make_net):
    inputs = {"data": values(1, 1, 2, 2), "mask": np.full((1, 1, 2, 2), 16, np.float32)}
    with pytest.raises(caffe.CaffeError, match="found index 16 at position 0 .* expected 0 to 15"):
        ours(make_net, head(**inputs) + layer("Upsample", inputs), inputs)
