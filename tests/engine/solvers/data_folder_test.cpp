// Every network of data/ is built and makes one step, on a few made-up rows.
#include <gmock/gmock.h>

#include <cmath>
#include <fstream>

#include "io/prototxt.h"
#include "solvers/solver.h"
#include "support/rows.h"
#include "support/scratch.h"

namespace caffe::testing {
namespace {

const std::string kFolder = CAFFE_SOURCE_DIR "/data/";
constexpr int kBatch = 2;

std::string pixels(int channels, int height, int width, int seed) {
  std::string bytes(static_cast<size_t>(channels) * height * width, '\0');
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<char>((i * 7 + static_cast<size_t>(seed) * 31) % 251);
  return field(1, static_cast<uint32_t>(channels), static_cast<uint32_t>(height),
               static_cast<uint32_t>(width), bytes);
}

std::string memory_row(const MemoryDataParameter& data, int i) {
  return pixels(static_cast<int>(data.channels()), static_cast<int>(data.height()),
                static_cast<int>(data.width()), i) +
         floats_field({static_cast<float>(i % 2)});
}

std::string cos_row(const CoSDataParameter& data, int i) {
  std::string row;
  for (const auto& top : data.top()) {
    if (top.has_height()) {
      row += pixels(static_cast<int>(top.channels()), static_cast<int>(top.height()),
                    static_cast<int>(top.width()), i);
    } else {
      row += floats_field(std::vector<float>(top.channels(), static_cast<float>(i % 2)));
    }
  }
  return row;
}

// The net with small batches of rows, whatever its data layers read.
NetParameter on_rows(NetParameter net, const Scratch& scratch) {
  int number = 0;
  for (LayerParameter& layer : *net.mutable_layer()) {
    std::vector<std::string> rows;
    const std::string path = scratch.path(concat(number++, ".rows"));
    if (layer.type() == "MemoryData") {
      layer.mutable_memory_data_param()->set_batch_size(kBatch);
      layer.mutable_memory_data_param()->set_source(path);
      for (int i = 0; i < 3; ++i) rows.push_back(memory_row(layer.memory_data_param(), i));
    } else if (layer.type() == "CoSData") {
      layer.mutable_cos_data_param()->set_batch_size(kBatch);
      layer.mutable_cos_data_param()->set_source(path);
      for (int i = 0; i < 3; ++i) rows.push_back(cos_row(layer.cos_data_param(), i));
    } else {
      continue;
    }
    EXPECT_TRUE(layer.has_source_class()) << layer.name();
    layer.clear_source_class();
    write_rows(path, rows);
    if (layer.transform_param().has_mean_file()) {
      BlobProto mean;
      const MemoryDataParameter& data = layer.memory_data_param();
      for (const uint32_t dim : {1u, data.channels(), data.height(), data.width()})
        mean.mutable_shape()->add_dim(dim);
      mean.mutable_data()->Resize(static_cast<int>(data.channels() * data.height() * data.width()),
                                  100);
      const std::string file = scratch.path("mean.binaryproto");
      std::ofstream(file, std::ios::binary) << mean.SerializeAsString();
      layer.mutable_transform_param()->set_mean_file(file);
    }
  }
  return net;
}

class DataFolder : public ::testing::TestWithParam<std::string> {};

TEST_P(DataFolder, NetIsBuiltAndMakesAStepAndATest) {
  const Scratch scratch;
  SolverParameter param = read_solver(kFolder + GetParam() + "_solver.prototxt");
  *param.mutable_net_param() = on_rows(read_net(kFolder + param.net()), scratch);
  param.clear_net();
  for (int i = 0; i < param.test_iter_size(); ++i) param.set_test_iter(i, 1);
  Solver solver(param, {});
  EXPECT_TRUE(std::isfinite(solver.train_iteration().loss));
  for (size_t i = 0; i < solver.test_nets().size(); ++i) {
    const auto outputs = solver.test(static_cast<int>(i));
    EXPECT_GE(outputs.size(), 2u);
    for (const NamedValues& output : outputs) EXPECT_TRUE(std::isfinite(output.values[0]));
  }
}

INSTANTIATE_TEST_SUITE_P(Solvers, DataFolder,
                         ::testing::Values("lenet_memory", "lenet_dataframe", "lenet_cos",
                                           "cifar10_quick", "caffenet", "bvlc_reference", "lrcn"));

TEST(DataFolderDeployNets, GiveProbabilitiesOfWords) {
  for (const char* name : {"lstm_deploy", "lrcn_word_to_preds.deploy"}) {
    Net net(read_net(kFolder + name + std::string(".prototxt")), {});
    net.forward();
    const Blob& probs = net.blob("probs");
    ASSERT_EQ(probs.shape().axes(), 3);
    double sum = 0;
    for (int64_t i = 0; i < probs.count(); ++i) sum += probs.data_as<float>()[i];
    EXPECT_NEAR(sum, static_cast<double>(probs.shape()[0]), 1e-3) << name;
  }
}

}  // namespace
}  // namespace caffe::testing
