#include "data/hdf5.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "support/error_of.h"
#include "support/npz.h"
#include "support/scratch.h"

namespace caffe {
namespace {

using testing::error_of;

// tests/golden/data/h5_*.h5 were written by h5py, hdf5data.npz by Caffe reading them.
TEST(Hdf5File, ReadsWhatOthersWrote) {
  const testing::Scratch scratch;
  const std::string folder = scratch.golden("data");
  const Hdf5File file = Hdf5File::open(folder + "/h5_0.h5");
  EXPECT_EQ(file.children(""), (std::vector<std::string>{"data", "extra", "label"}));
  std::vector<float> values;
  const Shape shape = file.read_floats("data", values);
  const auto npz = testing::read_npz(folder + "/hdf5data.npz");
  const auto& wanted = npz.at("out_data");
  ASSERT_EQ(shape.axes(), 3);
  EXPECT_EQ(shape.count(1), 6);
  for (size_t i = 0; i < 18; ++i) EXPECT_EQ(values[i], static_cast<float>(wanted.values[i]));
}

TEST(Hdf5File, ReadsTheSnapshotsOfCaffe) {
  const testing::Scratch scratch;
  const std::string folder = scratch.golden("formats/snap");
  const Hdf5File state = Hdf5File::open(folder + "/lenet_tiny_h5_iter_10.solverstate.h5");
  EXPECT_EQ(state.read_int("iter"), 10);
  EXPECT_EQ(state.read_int("current_step"), 0);
  EXPECT_THAT(state.read_string("learned_net"),
              ::testing::HasSubstr("lenet_tiny_h5_iter_10.caffemodel.h5"));
  std::vector<float> values;
  EXPECT_EQ(state.read_floats("history/0", values), Shape({4, 1, 5, 5}));
  EXPECT_FLOAT_EQ(values[0], 0.00017073685012292117f);
  const Hdf5File model = Hdf5File::open(folder + "/lenet_tiny_h5_iter_10.caffemodel.h5");
  EXPECT_EQ(model.children("data/conv1"), (std::vector<std::string>{"0", "1"}));
  EXPECT_TRUE(model.children("data/relu1").empty());
  EXPECT_FALSE(model.has("data/conv1/2"));
  EXPECT_FALSE(model.has("diff/conv1/0"));
}

TEST(Hdf5File, RoundTrip) {
  const testing::Scratch scratch;
  const std::string path = scratch.path("x.h5");
  {
    Hdf5File file = Hdf5File::create(path);
    const std::vector<float> values{1.5f, -2, 3, 4, 5, 6e-30f};
    file.write_floats("data/inception_3a/1x1/0", {2, 3}, values.data());
    file.write_floats("scalar", {}, values.data());
    file.create_group("data/loss");
    file.create_group("data/loss");
    file.write_int("iter", 123456789);
    file.write_string("learned_net", "snap/a.caffemodel.h5");
    file.write_string("nothing", "");
    EXPECT_THAT(error_of([&] { file.write_int("iter", 1); }),
                ::testing::HasSubstr("x.h5: there is a dataset 'iter'"));
    file.close();
  }
  const Hdf5File file = Hdf5File::open(path);
  std::vector<float> values;
  EXPECT_EQ(file.read_floats("data/inception_3a/1x1/0", values), Shape({2, 3}));
  EXPECT_EQ(values, (std::vector<float>{1.5f, -2, 3, 4, 5, 6e-30f}));
  EXPECT_EQ(file.read_floats("scalar", values), Shape());
  EXPECT_EQ(file.children("data"), (std::vector<std::string>{"inception_3a", "loss"}));
  EXPECT_EQ(file.shape("iter"), Shape({1}));
  EXPECT_EQ(file.read_int("iter"), 123456789);
  EXPECT_EQ(file.read_string("learned_net"), "snap/a.caffemodel.h5");
  EXPECT_EQ(file.read_string("nothing"), "");
}

TEST(Hdf5File, ErrorsNameFileAndDatasetAndPrintNothing) {
  const testing::Scratch scratch;
  const std::string path = scratch.path("x.h5");
  {
    Hdf5File file = Hdf5File::create(path);
    file.write_string("text", "abc");
    file.create_group("group");
  }
  ::testing::internal::CaptureStderr();
  const Hdf5File file = Hdf5File::open(path);
  std::vector<float> values;
  EXPECT_EQ(error_of([&] { file.read_floats("absent", values); }),
            path + ": there is no dataset 'absent'");
  EXPECT_EQ(error_of([&] { file.read_floats("group", values); }), path + ": 'group' is no dataset");
  EXPECT_THAT(error_of([&] { file.read_floats("text", values); }),
              ::testing::HasSubstr("'text' holds neither floats"));
  EXPECT_THAT(error_of([&] { file.read_int("text"); }),
              ::testing::HasSubstr("'text' is not one integer"));
  EXPECT_THAT(error_of([&] { Hdf5File::open(scratch.path("none.h5")); }),
              ::testing::HasSubstr("none.h5"));
  EXPECT_THAT(error_of([&] { Hdf5File::create(scratch.path("no/folder.h5")); }),
              ::testing::HasSubstr("no/folder.h5"));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(Hdf5File, TruncatedFilesGiveAnError) {
  const testing::Scratch scratch;
  const std::string path = scratch.golden("data/h5_0.h5");
  const auto size = std::filesystem::file_size(path);
  for (const auto part : {size / 4, size / 2, size - 1}) {
    std::filesystem::resize_file(path, part);
    EXPECT_NE(error_of([&] {
                std::vector<float> values;
                Hdf5File::open(path).read_floats("data", values);
              }),
              "");
    std::filesystem::resize_file(path, size);
  }
}

}  // namespace
}  // namespace caffe
