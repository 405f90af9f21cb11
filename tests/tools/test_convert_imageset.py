"""convert_imageset gives the records that Caffe's gave, and names what is wrong."""

import lmdb
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from command_line import Tool
from pictures import png

IMAGES = np.random.default_rng(3).integers(0, 256, (6, 5, 4, 3), np.uint8)


def records(store):
    with lmdb.open(str(store), readonly=True, lock=False) as database, database.begin() as transaction:
        return {key.decode(): caffe_pb2.Datum.FromString(value) for key, value in transaction.cursor()}


def planes(datum):
    return np.frombuffer(datum.data, np.uint8).reshape(datum.channels, datum.height, datum.width)


@pytest.fixture
def tool(tmp_path):
    """The tool in a folder with six PNG files and their list."""
    (tmp_path / "in").mkdir()
    for number, image in enumerate(IMAGES):
        (tmp_path / "in" / f"{number}.png").write_bytes(png(image))
    (tmp_path / "list").write_text("".join(f"{number}.png {number * 10}\n" for number in range(len(IMAGES))))
    return Tool("convert_imageset", tmp_path)


def test_the_store_of_caffe(formats):
    """The pictures of Caffe's store, written as PNG and converted again."""
    theirs = records(formats / "train_lmdb")
    (formats / "in").mkdir()
    for key, datum in theirs.items():
        pixels = planes(datum)
        image = pixels[0] if datum.channels == 1 else pixels.transpose(1, 2, 0)
        (formats / "in" / key.split("_", 1)[1]).write_bytes(png(image))
    gray = ["-gray"] if next(iter(theirs.values())).channels == 1 else []
    Tool("convert_imageset", formats).succeed(*gray, "in/", "train.txt", "ours")
    assert records(formats / "ours") == theirs


def test_pixels_are_planes_of_blue_green_red(tool, tmp_path):
    tool.succeed("in/", "list", "store")
    for number, (key, datum) in enumerate(records(tmp_path / "store").items()):
        assert key == f"{number:08d}_{number}.png"
        assert datum.label == number * 10
        assert np.array_equal(planes(datum), IMAGES[number].transpose(2, 0, 1))


def test_shuffled_records_are_the_same_pictures_in_another_order(tool, tmp_path):
    tool.succeed("-shuffle", "in/", "list", "store")
    found = [datum.label for datum in records(tmp_path / "store").values()]
    assert sorted(found) == [0, 10, 20, 30, 40, 50]
    assert found != sorted(found)


def test_encoded_files_are_kept_as_they_are(tool, tmp_path):
    tool.succeed("-encoded", "in/", "list", "store")
    for number, datum in enumerate(records(tmp_path / "store").values()):
        assert datum.encoded
        assert datum.data == (tmp_path / "in" / f"{number}.png").read_bytes()


@pytest.mark.parametrize("flags", [[], ["-gray"], ["-resize_height", "9", "-resize_width", "7"]])
def test_png_encoding_keeps_the_pixels(tool, tmp_path, flags):
    """The files are copied to names of another type, so that all must be written anew."""
    for path in (tmp_path / "in").iterdir():
        path.rename(path.with_suffix(".bmp"))
    (tmp_path / "list").write_text((tmp_path / "list").read_text().replace("png", "bmp"))
    tool.succeed(*flags, "in/", "list", "raw")
    tool.succeed(*flags, "-encode_type", "png", "in/", "list", "encoded")
    (tmp_path / "out").mkdir()
    lines = []
    for key, datum in records(tmp_path / "encoded").items():
        (tmp_path / "out" / f"{key}.png").write_bytes(datum.data)
        assert datum.data.startswith(b"\x89PNG")
        lines.append(f"{key}.png {datum.label}\n")
    (tmp_path / "again").write_text("".join(lines))
    tool.succeed(*[flag for flag in flags if flag == "-gray"], "out/", "again", "decoded")
    expected = [datum.SerializeToString() for datum in records(tmp_path / "raw").values()]
    assert [datum.SerializeToString() for datum in records(tmp_path / "decoded").values()] == expected


def test_jpeg_encoding_stays_near_the_pixels(tool, tmp_path):
    smooth = np.add.outer(np.arange(32), np.arange(24)).astype(np.uint8) * 4
    for number in range(len(IMAGES)):
        (tmp_path / "in" / f"{number}.png").write_bytes(png(np.dstack([smooth, 255 - smooth, smooth // 2])))
    tool.succeed("-encode_type", "jpg", "in/", "list", "store")
    (tmp_path / "out.jpg").write_bytes(next(iter(records(tmp_path / "store").values())).data)
    (tmp_path / "again").write_text("out.jpg 0\n")
    tool.succeed("./", "again", "decoded")
    found = planes(next(iter(records(tmp_path / "decoded").values()))).astype(int)
    expected = np.stack([smooth, 255 - smooth, smooth // 2]).astype(int)
    assert np.abs(found - expected).mean() < 3


def test_leveldb_gives_what_lmdb_gives(tool, tmp_path):
    tool.succeed("in/", "list", "of_lmdb")
    tool.succeed("-backend", "leveldb", "in/", "list", "of_leveldb")
    mean = Tool("compute_image_mean", tmp_path)
    mean.succeed("of_lmdb", "1")
    mean.succeed("-backend", "leveldb", "of_leveldb", "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def refused(tool, *arguments):
    message = tool.fail(*arguments, "in/", "list", "store")
    assert not (tool.folder / "store").exists()
    return message


def test_pictures_that_cannot_be_read_are_skipped_as_in_caffe(tool, tmp_path):
    (tmp_path / "in" / "3.png").write_bytes(b"no picture")
    (tmp_path / "in" / "5.png").unlink()
    result = tool.succeed("in/", "list", "store")
    warnings = [line for line in result.stderr.splitlines() if line.startswith("W")]
    assert len(warnings) == 2
    assert "picture 4 of list, '3.png'" in warnings[0]
    assert "picture 6 of list, '5.png'" in warnings[1]
    assert "Processed 4 files." in result.stderr
    assert "skipped 2 pictures" in result.stdout
    assert list(records(tmp_path / "store")) == [f"0000000{number}_{number}.png" for number in (0, 1, 2, 4)]


def test_a_list_without_any_picture_is_refused(tool, tmp_path):
    for path in (tmp_path / "in").iterdir():
        path.unlink()
    assert "none of the 6 pictures of list can be read" in refused(tool)


def test_the_log_has_the_lines_of_caffe(tool, formats):
    theirs = (formats / "convert_imageset_train.log").read_text()
    ours = tool.succeed("in/", "list", "store").stderr
    for line in theirs.splitlines():
        text = line.split("] ", 1)[1]
        if not text.startswith("Opened lmdb"):
            assert text.replace("60", "6") in ours


def test_wrong_lists_are_refused(tool, tmp_path):
    (tmp_path / "list").write_text("0.png 1\n1.png one\n")
    assert "line 2" in refused(tool)
    (tmp_path / "list").write_text("")
    assert "is empty" in refused(tool)
    (tmp_path / "list").write_text("0.png 20000000\n")
    assert "label" in refused(tool)


def test_sizes_are_checked_if_wanted(tool, tmp_path):
    (tmp_path / "in" / "2.png").write_bytes(png(np.zeros((7, 7, 3), np.uint8)))
    message = refused(tool, "-check_size")
    assert "2.png" in message
    assert "3 x 7 x 7" in message
    tool.succeed("-check_size", "-resize_height", "5", "-resize_width", "4", "in/", "list", "store")


def test_wrong_flags(tool):
    assert "-resize_width 0" in refused(tool, "-resize_height", "5")
    assert "'tiff'" in refused(tool, "-encode_type", "tiff")
    assert "found 0 names" in tool.fail()
    assert "usage: convert_imageset" in tool.succeed("--help").stdout
