"""examples/captioning from the pictures to the captions, with fewer pictures and iterations; and the parts it uses."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffeonspark.display import get_image, image_tag, show_captions
from caffeonspark.ml import CaffeCaptioner
from caffeonspark.tools import Conversions, Vocab
from places import local_spark
from processors import needs_bf16
from pyspark.sql import Row

pytestmark = pytest.mark.spark

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "captioning"
CAPTIONS = ["a red circle", "a blue circle", "a blue square", "two red circles meet"]
WORD_NET = """
layer { name: "in" type: "Input" top: "cont_sentence" top: "input_sentence" top: "image_features"
  input_param { shape { dim: 1 dim: 1 } shape { dim: 1 dim: 1 } shape { dim: 1 dim: 3 } } }
layer { name: "embed" type: "Embed" bottom: "input_sentence" top: "embed"
  embed_param { input_dim: 10 num_output: 6 weight_filler { type: "uniform" min: -2 max: 2 } } }
layer { name: "lstm" type: "LSTM" bottom: "embed" bottom: "cont_sentence" bottom: "image_features" top: "lstm"
  recurrent_param { num_output: 12 weight_filler { type: "uniform" min: -2 max: 2 } } }
layer { name: "predict" type: "InnerProduct" bottom: "lstm" top: "predict"
  inner_product_param { num_output: 10 axis: 2 weight_filler { type: "uniform" min: -2 max: 2 } } }
layer { name: "probs" type: "Softmax" bottom: "predict" top: "probs" softmax_param { axis: 2 } }
"""


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    with local_spark(tmp_path_factory.mktemp("warehouse"), spark_sql_shuffle_partitions="2") as session:
        yield session


@pytest.fixture(scope="module")
def vocabulary(spark, tmp_path_factory):
    vocab = Vocab(spark)
    vocab.genFromData(spark.createDataFrame([(text,) for text in CAPTIONS], "caption STRING"), "caption")
    path = f"file:{tmp_path_factory.mktemp('vocabulary')}/vocab.txt"
    vocab.save(path)
    return vocab, path


def said_by_caffe(net, features, words, longest):
    """Greedy captions, one picture after the other."""
    sentences = []
    for row in features:
        word, said = 0, []
        for i in range(longest):
            inputs = {"cont_sentence": [[min(i, 1)]], "input_sentence": [[word]], "image_features": [row]}
            probs = net.forward(**{name: np.array(value, np.float32) for name, value in inputs.items()})["probs"]
            word = int(probs.argmax())
            if word == 0:
                break
            said.append((["UNK", *words])[word - 1])
        sentences.append(" ".join(said))
    return sentences


def test_a_captioner_says_what_the_net_says_word_after_word(spark, vocabulary, tmp_path):
    vocab, path = vocabulary
    assert vocab.words == ["a", "blue", "circle", "red", "circles", "meet", "square", "two"]
    (tmp_path / "word.prototxt").write_text(WORD_NET)
    caffe.set_random_seed(5)
    net = caffe.Net(str(tmp_path / "word.prototxt"), caffe.TEST)
    net.save(str(tmp_path / "word.caffemodel"))
    features = np.random.default_rng(3).normal(0, 2, (23, 3)).astype(np.float32)
    expected = said_by_caffe(net, features, vocab.words, 7)
    assert len(set(expected)) > 5 and len({len(text.split()) for text in expected}) > 2

    model = f"file:{tmp_path}/word.caffemodel"
    captioner = CaffeCaptioner.fromCaffe(str(tmp_path / "word.prototxt"), model, path, featuresCol="f", maxLength=7)
    rows = [(i, row.tolist()) for i, row in enumerate(features)] + [(23, None)]
    frame = spark.createDataFrame(rows, "id INT, f ARRAY<FLOAT>").coalesce(1)
    for batch in (100, 4):  # the last batch of four is a smaller one
        answered = captioner.setBatchSize(batch).transform(frame).collect()
        assert [row.id for row in answered] == list(range(24))
        assert [row.caption for row in answered] == [*expected, None]

    captioner.save(f"file:{tmp_path}/saved")
    loaded = CaffeCaptioner.load(f"file:{tmp_path}/saved")
    assert loaded.getMaxLength() == 7 and loaded.vocabulary == vocab.words
    assert [
        row.caption for row in loaded.setCaptionCol("said").transform(frame).selectExpr("said caption").collect()
    ] == [
        *expected,
        None,
    ]


@needs_bf16
def test_a_captioner_in_bf16_says_nearly_always_the_same(spark, vocabulary, tmp_path):
    (tmp_path / "word.prototxt").write_text(WORD_NET)
    caffe.set_random_seed(5)
    caffe.Net(str(tmp_path / "word.prototxt"), caffe.TEST).save(str(tmp_path / "word.caffemodel"))
    arguments = str(tmp_path / "word.prototxt"), f"file:{tmp_path}/word.caffemodel"
    captioner = CaffeCaptioner.fromCaffe(*arguments, vocabulary[1], maxLength=7)
    features = np.random.default_rng(3).normal(0, 2, (200, 3)).astype(np.float32)
    frame = spark.createDataFrame([(row.tolist(),) for row in features], "features ARRAY<FLOAT>").coalesce(1)

    def said(by):
        return [row.caption for row in by.transform(frame).collect()]

    assert captioner.getPrecision() == "f32"
    plain = said(captioner)
    captioner.setPrecision("bf16").save(f"file:{tmp_path}/saved")
    loaded = CaffeCaptioner.load(f"file:{tmp_path}/saved")
    assert loaded.getPrecision() == "bf16"
    others = sum(a != b for a, b in zip(said(loaded), plain, strict=True))
    assert 0 < others < 40  # where two words are nearly as probable, it is sometimes the other one
    assert said(loaded.setPrecision("f32")) == plain


def test_a_captioner_says_what_is_wrong(spark, vocabulary, tmp_path):
    (tmp_path / "word.prototxt").write_text(WORD_NET)
    caffe.Net(str(tmp_path / "word.prototxt"), caffe.TEST).save(str(tmp_path / "word.caffemodel"))
    arguments = str(tmp_path / "word.prototxt"), f"file:{tmp_path}/word.caffemodel"
    captioner = CaffeCaptioner.fromCaffe(*arguments, vocabulary[1])
    frame = spark.createDataFrame([([1.0, 2.0],)], "features ARRAY<FLOAT>")
    with pytest.raises(Exception, match="row 0 of partition .* has 2 values, but the network takes 3"):
        captioner.transform(frame).collect()
    with pytest.raises(ValueError, match="column other does not exist; the columns are features"):
        captioner.copy().setFeaturesCol("other").transform(frame)
    with pytest.raises(ValueError, match="column features exists already"):
        captioner.copy().setCaptionCol("features").transform(frame)
    with pytest.raises(ValueError, match="blob words is no input of network"):
        captioner.copy().setWordBlob("words").transform(frame)
    (tmp_path / "more.txt").write_text("UNK\n" + "".join(f"word{i}\n" for i in range(9)))
    more = CaffeCaptioner.fromCaffe(*arguments, f"file:{tmp_path}/more.txt")
    with pytest.raises(Exception, match="use the vocabulary that the network was trained with"):
        more.transform(spark.createDataFrame([([1.0, 2.0, 3.0],)], "features ARRAY<FLOAT>")).collect()
    (tmp_path / "other.txt").write_text("word\n")
    with pytest.raises(ValueError, match="is no vocabulary"):
        CaffeCaptioner.fromCaffe(*arguments, f"file:{tmp_path}/other.txt")


def test_tables_for_notebooks(spark):
    from com.yahoo.ml.caffe import DisplayUtils
    from com.yahoo.ml.caffe.tools.DFConversions import DFConversions
    from com.yahoo.ml.caffe.tools.Vocab import Vocab as OldVocab

    assert (DFConversions, OldVocab) == (Conversions, Vocab)
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    png = re.fullmatch(r"<img src='data:;base64,(.*)' />", image_tag(pixels))[1]
    import base64

    import cv2

    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_UNCHANGED)
    assert (decoded == pixels).all()
    frame = spark.createDataFrame([Row(id="<1>", label=7, data=bytearray(pixels.tobytes()), height=2, width=3)])
    table = DisplayUtils.show_df(frame)
    assert "&lt;1&gt;" in table and image_tag(pixels) in table and table._repr_html_() == table
    said = spark.createDataFrame([Row(id="1", data=Row(image=bytearray(b"file")), prediction="a dog")])
    assert get_image(b"file") in show_captions(said) and "a dog" in show_captions(said)
    assert DisplayUtils.show_network(str(EXAMPLE / "lrcn_word.prototxt"), "LR").startswith("<img src='data:;base64,")


@pytest.mark.skipif(importlib.util.find_spec("easy_vqa") is None, reason="the package easy-vqa is not installed")
def test_the_example_learns_to_say_what_it_sees(tmp_path):
    environment = dict(os.environ, SPARK_LOCAL_IP="127.0.0.1")

    def run(*command):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    made = run(sys.executable, EXAMPLE / "easy_vqa_coco.py", tmp_path, "1500")
    assert "1500 captioned pictures" in made and "880 captioned pictures" in made
    solver = (EXAMPLE / "lrcn_solver.prototxt").read_text()
    solver = solver.replace("max_iter: 1200", "max_iter: 700").replace("stepvalue: 900", "stepvalue: 600")
    solver = solver.replace('net: "', f'net: "{EXAMPLE}/')
    (tmp_path / "solver.prototxt").write_text(solver)
    said = run(sys.executable, EXAMPLE / "caption.py", tmp_path, "--solver", tmp_path / "solver.prototxt")
    right, total = map(int, re.search(r"(\d+) of (\d+) captions are right", said).groups())
    assert total == 880 and right > 0.8 * total
