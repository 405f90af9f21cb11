#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

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
