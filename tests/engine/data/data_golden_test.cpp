// The batches of the Data layer's fixtures, made by BVLC Caffe 1.0.

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "data/batch_loader.h"
#include "support/npz.h"
#include "support/scratch.h"

namespace caffe {
namespace {

class DataGoldenTest : public ::testing::TestWithParam<const char*> {};

void expect_near(const double* wanted, const float* found, int64_t count, double tolerance) {
  for (int64_t i = 0; i < count; ++i)
    ASSERT_NEAR(found[i], wanted[i], tolerance) << "element " << i;
}

TEST_P(DataGoldenTest, GivesTheBatchesOfCaffe) {
  const testing::Scratch scratch;
  const std::string folder = scratch.golden("data");
  NetParameter net;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      testing::read_file(folder + "/" + GetParam() + ".prototxt"), &net));
  const LayerParameter& layer = net.layer(0);
  TransformationParameter transform = layer.transform_param();
  if (transform.has_mean_file()) transform.set_mean_file(folder + "/" + transform.mean_file());
  const auto source = open_records(DataParameter::DB_Name(layer.data_param().backend()),
                                   folder + "/" + layer.data_param().source());
  const int64_t rows = layer.data_param().batch_size();
  testing::Npz wanted = testing::read_npz(folder + "/" + GetParam() + ".npz");
  // Mixed-size records of the fixtures include JPEG files, where another decoder may differ by 3
  // grey levels.
  const bool jpeg = std::string(GetParam()).find("mixedsize") != std::string::npos;
  const double tolerance = jpeg ? 3.01 * transform.scale() : 1e-5;
  for (const int threads : {1, 3}) {
    BatchLoader loader(source, std::make_shared<Transformer>(transform, TEST, 1, layer.name()),
                       training_schedule(0, 1, rows), {.threads = threads});
    Batch batch;
    const testing::NpzArray& data = wanted["out_data"];
    for (int64_t i = 0; i < data.shape[0]; ++i) {
      ASSERT_TRUE(loader.next(batch));
      ASSERT_EQ(batch.shape.dims(), std::vector<int64_t>(data.shape.begin() + 1, data.shape.end()));
      const int64_t count = batch.shape.count();
      expect_near(data.values.data() + i * count, batch.data.data(), count, tolerance);
      if (layer.top_size() > 1) {
        expect_near(wanted["out_label"].values.data() + i * rows, batch.labels.data(), rows, 0);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, DataGoldenTest,
                         ::testing::Values("data_encoded_mixedsize_color",
                                           "data_encoded_mixedsize_gray", "data_float",
                                           "data_gray_scale", "data_leveldb", "data_meanfile_crop",
                                           "data_meanfile_scale", "data_meanvalue1",
                                           "data_meanvalue3_crop", "data_nolabel", "data_png",
                                           "data_raw"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace caffe
