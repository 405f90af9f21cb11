// The Data and HDF5Data layers on the fixtures that BVLC Caffe 1.0 made.

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "layers/layer.h"
#include "support/npz.h"
#include "support/scratch.h"

namespace caffe {
namespace {

namespace fs = std::filesystem;

// A copy of tests/golden/data as the current folder: file names in the fixtures are relative to it.
class DataFolder {
 public:
  DataFolder() : before_(fs::current_path()) { fs::current_path(scratch_.golden("data")); }
  ~DataFolder() { fs::current_path(before_); }

 private:
  testing::Scratch scratch_;
  fs::path before_;
};

// One data layer outside of a net, run as a net would.
class DataSourceLayer {
 public:
  DataSourceLayer(const LayerParameter& param, const RunContext& context)
      : context_(context), layer_(create_layer(param, context_)) {
    for (int i = 0; i < param.top_size(); ++i) {
      owned_.push_back(std::make_unique<Blob>(context.dtype));
      top.push_back(owned_.back().get());
    }
    layer_->set_up({}, top);
    layer_->reshape({}, top);
  }
  void step() {
    layer_->prepare(top);
    layer_->run_forward({}, top);
  }
  Layer& layer() { return *layer_; }
  Blobs top;

 private:
  RunContext context_;
  std::unique_ptr<Layer> layer_;
  std::vector<std::unique_ptr<Blob>> owned_;
};

LayerParameter layer_of(const std::string& prototxt) {
  NetParameter net;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(prototxt, &net));
  return net.layer(0);
}

template <typename T>
void expect_fixture(const std::string& name, DType dtype) {
  const LayerParameter param = layer_of(testing::read_file(name + ".prototxt"));
  testing::Npz wanted = testing::read_npz(name + ".npz");
  RunContext context;
  context.dtype = dtype;
  context.data.threads = 2;
  DataSourceLayer source(param, context);
  // Another JPEG decoder may differ by 3 grey levels from OpenCV's; those files are in the
  // mixed-size fixtures.
  const double tolerance =
      name.find("mixedsize") == std::string::npos ? 1e-5 : 3.01 * param.transform_param().scale();
  for (int64_t k = 0; k < wanted["out_" + param.top(0)].shape[0]; ++k) {
    source.step();
    for (int i = 0; i < param.top_size(); ++i) {
      const Blob& top = *source.top[static_cast<size_t>(i)];
      const testing::NpzArray& array = wanted["out_" + param.top(i)];
      ASSERT_EQ(top.shape().dims(),
                std::vector<int64_t>(array.shape.begin() + 1, array.shape.end()));
      for (int64_t at = 0; at < top.count(); ++at) {
        ASSERT_NEAR(top.data_as<T>()[at], array.values[static_cast<size_t>(k * top.count() + at)],
                    i == 0 ? tolerance : 0)
            << name << " batch " << k << " " << param.top(i) << "[" << at << "]";
      }
    }
  }
}

TEST(DataLayers, GiveTheBatchesOfCaffe) {
  const DataFolder folder;
  int fixtures = 0;
  for (const auto& entry : fs::directory_iterator(".")) {
    const std::string stem = entry.path().stem().string();
    const bool ours = stem.rfind("data_", 0) == 0 || stem == "hdf5data";
    if (!ours || entry.path().extension() != ".prototxt") continue;
    expect_fixture<float>(stem, DType::kF32);
    expect_fixture<double>(stem, DType::kF64);
    ++fixtures;
  }
  EXPECT_EQ(fixtures, 13);
}

TEST(DataLayer, TellsTheKeysOfItsBatch) {
  const DataFolder folder;
  const LayerParameter param = layer_of(testing::read_file("data_raw.prototxt"));
  const RunContext context;
  DataSourceLayer source(param, context);
  source.step();
  const auto keys = source.layer().record_keys();
  ASSERT_TRUE(keys.has_value());
  ASSERT_EQ(keys->size(), 5u);
  EXPECT_THAT(keys->front(), ::testing::StartsWith("00000000"));
  EXPECT_LT((*keys)[0], (*keys)[1]);
}

TEST(DataLayer, AnExactRangeHasALastBatchOfItsTrueSizeAndThenEnds) {
  const DataFolder folder;
  RunContext context;
  context.data.range = {2, 9};
  DataSourceLayer source(layer_of(testing::read_file("data_raw.prototxt")), context);
  source.step();
  EXPECT_EQ(source.top[0]->shape(0), 5);
  source.step();
  EXPECT_EQ(source.top[0]->shape(0), 2);
  EXPECT_EQ(source.top[1]->shape(), Shape({2}));
  EXPECT_THROW(source.step(), Error);
}

TEST(DataLayers, RanksAndSkippedBatchesFollowTheStream) {
  const DataFolder folder;
  for (const char* fixture : {"data_raw", "hdf5data"}) {
    const LayerParameter param = layer_of(testing::read_file(std::string(fixture) + ".prototxt"));
    std::vector<std::vector<float>> rows;  // of one worker
    const auto add_rows = [](const Blob& blob, std::vector<std::vector<float>>& to) {
      const int64_t size = blob.shape().count(1);
      for (int64_t i = 0; i < blob.shape(0); ++i) {
        to.emplace_back(blob.data_as<float>() + i * size, blob.data_as<float>() + (i + 1) * size);
      }
    };
    DataSourceLayer alone(param, RunContext());
    for (int k = 0; k < 6; ++k) {
      alone.step();
      add_rows(*alone.top[0], rows);
    }
    for (int rank = 0; rank < 2; ++rank) {
      RunContext context;
      context.rank = rank;
      context.world = 2;
      context.data.first_batch = 1;
      DataSourceLayer source(param, context);
      std::vector<std::vector<float>> found;
      for (int k = 0; k < 2; ++k) {
        source.step();
        add_rows(*source.top[0], found);
      }
      const auto batch = static_cast<size_t>(source.top[0]->shape(0));
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i], rows[2 * batch + 2 * i + static_cast<size_t>(rank)])
            << fixture << " row " << i;
      }
    }
  }
}

TEST(HDF5DataLayer, ShufflesEveryEpochIntoAPermutation) {
  const DataFolder folder;
  LayerParameter param = layer_of(testing::read_file("hdf5data.prototxt"));
  param.mutable_hdf5_data_param()->set_batch_size(1);
  const auto epochs = [&](bool shuffle) {
    param.mutable_hdf5_data_param()->set_shuffle(shuffle);
    DataSourceLayer source(param, RunContext());
    std::vector<float> firsts;
    for (int k = 0; k < 200; ++k) {
      source.step();
      firsts.push_back(source.top[0]->data_as<float>()[0]);
    }
    return firsts;
  };
  const std::vector<float> plain = epochs(false);
  const std::vector<float> shuffled = epochs(true);
  const auto size =
      static_cast<size_t>(std::find(plain.begin() + 1, plain.end(), plain[0]) - plain.begin());
  ASSERT_LT(size, 60u);
  for (size_t epoch = 0; epoch < 3; ++epoch) {
    const auto begin = static_cast<ptrdiff_t>(epoch * size),
               end = begin + static_cast<ptrdiff_t>(size);
    EXPECT_EQ(std::multiset<float>(shuffled.begin() + begin, shuffled.begin() + end),
              std::multiset<float>(plain.begin(), plain.begin() + static_cast<ptrdiff_t>(size)));
  }
  EXPECT_NE(std::vector<float>(shuffled.begin(), shuffled.begin() + static_cast<ptrdiff_t>(size)),
            std::vector<float>(plain.begin(), plain.begin() + static_cast<ptrdiff_t>(size)));
}

TEST(DataLayers, MistakesAreNamed) {
  const DataFolder folder;
  std::ofstream("shapes.txt") << "h5_0.h5\nhdf5output_by_caffe.h5\n";
  std::ofstream("none.txt") << "absent.h5\n";
  std::ofstream("empty.txt") << "\n";
  const std::map<std::string, std::string> cases = {
      {"type: 'Data' top: 'd'", "data_param { source } is missing"},
      {"type: 'Data' top: 'd' data_param { source: 'db_raw_lmdb' backend: LMDB }",
       "batch_size } is 0"},
      {"type: 'Data' top: 'd' data_param { source: 'absent' backend: LMDB batch_size: 1 }",
       "absent: No such file"},
      {"type: 'Data' top: 'd' data_param { source: 'db_raw_lmdb' backend: LEVELDB batch_size: 1 }",
       "is no LevelDB"},
      {"type: 'Data' top: 'd' data_param { source: 'db_raw_lmdb' backend: LMDB batch_size: 1 } "
       "transform_param { "
       "crop_size: 100 }",
       "smaller than crop_size 100"},
      {"type: 'Data' top: 'd' data_param { source: 'db_raw_lmdb' backend: LMDB batch_size: 1 } "
       "transform_param { "
       "mean_value: 1 mean_value: 2 }",
       "3 channels, but transform_param gives 2 mean_value"},
      {"type: 'Data' top: 'd' data_param { source: 'db_raw_lmdb' backend: LMDB batch_size: 1 } "
       "transform_param { "
       "mean_value: 1 mean_file: 'mean.binaryproto' }",
       "both mean_file and mean_value"},
      {"type: 'Data' top: 'd' data_param { source: 'db_gray_lmdb' backend: LMDB batch_size: 1 } "
       "transform_param { "
       "mean_file: 'mean.binaryproto' }",
       "is 1 x 16 x 18, but mean file mean.binaryproto is for 3 x 16 x 18"},
      {"type: 'Data' top: 'd' data_param { source: 'db_raw_lmdb' backend: LMDB batch_size: 1 } "
       "transform_param { "
       "mean_file: 'list.txt' }",
       "mean file list.txt is no BlobProto"},
      {"type: 'HDF5Data' top: 'data' hdf5_data_param { source: 'h5_list.txt' batch_size: 1 } "
       "transform_param { }",
       "does not transform"},
      {"type: 'HDF5Data' top: 'other' hdf5_data_param { source: 'h5_list.txt' batch_size: 1 }",
       "there is no dataset 'other'"},
      {"type: 'HDF5Data' top: 'data' hdf5_data_param { source: 'absent.txt' batch_size: 1 }",
       "'absent.txt'"},
      {"type: 'HDF5Data' top: 'data' hdf5_data_param { source: 'none.txt' batch_size: 1 }",
       "absent.h5"},
      {"type: 'HDF5Data' top: 'data' hdf5_data_param { source: 'empty.txt' batch_size: 1 }",
       "leads to no rows"},
  };
  for (const auto& [text, wanted] : cases) {
    try {
      DataSourceLayer(layer_of("layer { name: 'L' " + text + " }"), RunContext());
      ADD_FAILURE() << text << ": no error";
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), ::testing::HasSubstr(wanted)) << text;
    }
  }
}

}  // namespace
}  // namespace caffe
