#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "data/hdf5.h"
#include "engine/layers/layer_fixture.h"
#include "support/compare.h"
#include "support/json.h"
#include "support/scratch.h"

namespace caffe::testing {
namespace {

using ::testing::HasSubstr;

class ImageDataTest : public ::testing::Test {
 protected:
  ImageDataTest() : folder_(scratch_.golden("data") + "/") {}

  // The layer of a fixture's net, its paths made absolute.
  LayerParameter layer_of(const std::string& fixture) const {
    auto net = parse_text<NetParameter>(read_file(folder_ + fixture + ".prototxt"));
    LayerParameter layer = net.layer(0);
    ImageDataParameter& data = *layer.mutable_image_data_param();
    data.set_source(folder_ + data.source());
    data.set_root_folder(folder_ + data.root_folder());
    return layer;
  }
  std::string written(const std::string& list) {
    write_file(scratch_.path("list.txt"), list);
    return scratch_.path("list.txt");
  }
  std::string error_with(const std::string& list, const std::string& more = "") {
    return error_of([&] {
      LayerFixture f(
          "name: 'i' type: 'ImageData' top: 'data' top: 'label' image_data_param { source: '" +
          written(list) + "' root_folder: '" + folder_ + "' batch_size: 2 " + more + " }");
      f.set_up();
      f.layer->prepare(f.top);
    });
  }

  testing::Scratch scratch_;
  std::string folder_;
};

TEST_F(ImageDataTest, GivesTheBatchesOfCaffe) {
  for (const std::string name : {"imagedata_gray", "imagedata_resize", "imagedata_root_crop"}) {
    const Npz arrays = read_npz(folder_ + name + ".npz");
    const JsonValue meta = parse_json(arrays.at("meta").text());
    LayerFixture f(layer_of(name));
    f.set_up();
    const NpzArray& data = arrays.at("out_data");
    const size_t size = data.values.size() / static_cast<size_t>(data.shape[0]);
    const size_t rows = static_cast<size_t>(data.shape[1]);
    for (size_t i = 0; i < static_cast<size_t>(data.shape[0]); ++i) {
      f.layer->prepare(f.top);
      f.forward();
      NpzArray expected;
      expected.shape.assign(data.shape.begin() + 1, data.shape.end());
      expected.values.assign(data.values.begin() + i * size, data.values.begin() + (i + 1) * size);
      EXPECT_LE(golden_error(f.blob("data").shape().dims(), f.blob("data").data_as<float>(),
                             expected, 1e-5, member(meta, "atol").number_value()),
                1)
          << name << ", batch " << i;
      for (size_t row = 0; row < rows; ++row) {
        EXPECT_EQ(f.blob("label").data_as<float>()[row],
                  arrays.at("out_label").values[i * rows + row]);
      }
    }
  }
}

TEST_F(ImageDataTest, ShufflesEveryEpochAndKeepsAllPictures) {
  LayerParameter layer = layer_of("imagedata_resize");
  layer.mutable_image_data_param()->set_batch_size(1);
  layer.mutable_image_data_param()->set_shuffle(true);
  RunContext run;
  run.seed = 5;
  LayerFixture f(layer, run);
  f.set_up();
  const std::string list = read_file(folder_ + "list.txt");
  const auto pictures = std::count(list.begin(), list.end(), '\n');
  std::vector<std::vector<std::string>> epochs(2);
  for (auto& keys : epochs) {
    for (int i = 0; i < pictures; ++i) {
      f.layer->prepare(f.top);
      keys.push_back(f.layer->record_keys()->at(0));
    }
  }
  EXPECT_NE(epochs[0], epochs[1]);
  for (auto& keys : epochs) std::sort(keys.begin(), keys.end());
  EXPECT_EQ(epochs[0], epochs[1]);
  EXPECT_EQ(std::unique(epochs[0].begin(), epochs[0].end()), epochs[0].end());
}

TEST_F(ImageDataTest, SaysWhatIsWrongWithAList) {
  EXPECT_THAT(error_with("images/im00.png 1\nimages/im01.png\n"),
              HasSubstr("line 2 of the list of images"));
  EXPECT_THAT(error_with("images/im00.png one\n"), HasSubstr("a whole number, the label"));
  EXPECT_THAT(error_with(""), HasSubstr("is empty"));
  EXPECT_THAT(error_with("images/none.png 1\n"),
              AllOf(HasSubstr("images/none.png"), HasSubstr("cannot be opened")));
  EXPECT_THAT(error_with("list.txt 1\n"), HasSubstr("record 'list.txt'"));
  EXPECT_THAT(error_with("images/im00.png 1\n", "new_height: 4"), HasSubstr("give both or none"));
  EXPECT_THAT(error_of([] {
                LayerFixture f(
                    "name: 'i' type: 'ImageData' top: 'd' image_data_param { source: "
                    "'/no/such/list' batch_size: 1 }");
                f.set_up();
              }),
              HasSubstr("cannot open the list of images '/no/such/list'"));
}

class WindowDataTest : public ImageDataTest {
 protected:
  LayerParameter layer(const std::string& windows, const std::string& more = "") {
    return parse_text<LayerParameter>(
        "name: 'w' type: 'WindowData' top: 'data' top: 'label' window_data_param { source: '" +
        windows + "' root_folder: '" + folder_ + "' batch_size: 8 " + more +
        " } transform_param { crop_size: 8 mean_value: 10 }");
  }
  std::string error_with_windows(const std::string& windows, const std::string& more = "") {
    return error_of([&] {
      LayerFixture f(layer(written(windows), more));
      f.set_up();
      f.layer->prepare(f.top);
    });
  }
};

// Which windows are drawn is random; every one that Caffe drew must be among ours, to the last
// pixel, with its label, and in the same part of the batch.
TEST_F(WindowDataTest, CutsTheWindowsThatCaffeCuts) {
  LayerFixture f(layer(folder_ + "windows.txt", "cache_images: true"));
  f.set_up();
  std::set<std::vector<float>> ours[2];
  constexpr size_t kPixels = 3 * 8 * 8;
  const auto add = [&](const float* data, const float* labels, std::set<std::vector<float>>* sets) {
    for (size_t row = 0; row < 8; ++row) {
      std::vector<float> all(data + row * kPixels, data + (row + 1) * kPixels);
      all.push_back(labels[row]);
      EXPECT_EQ(labels[row] == 0, row < 6);
      sets[row < 6 ? 0 : 1].insert(std::move(all));
    }
  };
  for (int i = 0; i < 40; ++i) {
    f.layer->prepare(f.top);
    f.forward();
    add(f.blob("data").data_as<float>(), f.blob("label").data_as<float>(), ours);
  }
  const Npz arrays = read_npz(folder_ + "windowdata_random.npz");
  const std::vector<float> data = arrays.at("out_data").as<float>();
  const std::vector<float> labels = arrays.at("out_label").as<float>();
  std::set<std::vector<float>> caffes[2];
  for (size_t i = 0; i < labels.size() / 8; ++i)
    add(&data[i * 8 * kPixels], &labels[i * 8], caffes);
  for (int part = 0; part < 2; ++part) {
    EXPECT_FALSE(caffes[part].empty());
    EXPECT_TRUE(std::includes(ours[part].begin(), ours[part].end(), caffes[part].begin(),
                              caffes[part].end()));
  }
}

TEST_F(WindowDataTest, PadsWithZerosWhatLiesOutsideOfTheImage) {
  LayerFixture f(layer(written("# 0\nimages/im00.png\n3 16 18\n1\n1 0.9 0 0 15 15\n"),
                       "fg_fraction: 1 context_pad: 2 crop_mode: 'square'"));
  f.set_up();
  f.layer->prepare(f.top);
  f.forward();
  const float* data = f.blob("data").data_as<float>();
  for (int c = 0; c < 3; ++c) {
    for (int x = 0; x < 8; ++x) EXPECT_EQ(data[c * 64 + x], 0) << "the row above the image";
    EXPECT_NE(data[c * 64 + 4 * 8 + 4], 0);
  }
}

TEST_F(WindowDataTest, SaysWhatIsWrong) {
  EXPECT_THAT(error_with_windows("images/im00.png\n"), HasSubstr("expected '# index'"));
  EXPECT_THAT(error_with_windows("# 0\nimages/im00.png\n3 16 18\n1\n1 0.9 5 5 2 9\n"),
              HasSubstr("wrong at window 0 of image images/im00.png"));
  EXPECT_THAT(error_with_windows("# 0\nimages/im00.png\n3 16 18\n1\n1 0.9 0 0 5 5\n"),
              HasSubstr("1 foreground and 0 background windows"));
  EXPECT_THAT(
      error_with_windows("# 0\nimages/im00.png\n3 16 18\n1\n1 0.9 0 0 50 50\n", "fg_fraction: 1"),
      AllOf(HasSubstr("images/im00.png"), HasSubstr("too small for its window")));
  EXPECT_THAT(error_with_windows("# 0\nnone.png\n3 16 18\n1\n1 0.9 0 0 5 5\n", "fg_fraction: 1"),
              HasSubstr("none.png"));
}

TEST(HDF5Output, WritesItsBottomsOnce) {
  if (!hdf5_available()) GTEST_SKIP() << "libhdf5 is not installed";
  testing::Scratch scratch;
  const std::string path = scratch.path("out.h5");
  LayerFixture f(
      "name: 'o' type: 'HDF5Output' bottom: 'x' bottom: 'y' hdf5_output_param { "
      "file_name: '" +
      path + "' }");
  set_data<float>(f.bottom_shaped("x", {2, 3}), std::vector<float>{1, 2, 3, 4, 5, 6});
  set_data<float>(f.bottom_shaped("y", {2}), std::vector<float>{7, 8});
  f.set_up();
  f.forward();
  EXPECT_THAT(error_of([&] { f.forward(); }), HasSubstr("has been written by the pass before"));
  const Hdf5File file = Hdf5File::open(path);
  std::vector<float> values;
  EXPECT_EQ(file.read_floats("data", values).str(), "2 3 (6)");
  EXPECT_EQ(values, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(file.read_floats("label", values).str(), "2 (2)");
  EXPECT_EQ(values, (std::vector<float>{7, 8}));
}

}  // namespace
}  // namespace caffe::testing
