#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <numeric>
#include <sstream>

#include "engine/layers/layer_fixture.h"
#include "layers/memory_data_layer.h"
#include "support/compare.h"
#include "support/json.h"

namespace caffe::testing {
namespace {

const std::string kFolder = CAFFE_SOURCE_DIR "/tests/golden/data/";

NetParameter net_of(const std::string& fixture) {
  std::ifstream file(kFolder + fixture + ".prototxt");
  std::stringstream text;
  text << file.rdbuf();
  return parse_text<NetParameter>(text.str());
}

// Batch `index` of an array whose axis 0 counts batches.
NpzArray batch_of(const NpzArray& all, size_t index) {
  NpzArray batch;
  batch.shape.assign(all.shape.begin() + 1, all.shape.end());
  const size_t size = all.values.size() / static_cast<size_t>(all.shape[0]);
  batch.values.assign(all.values.begin() + index * size, all.values.begin() + (index + 1) * size);
  return batch;
}

// Compares what each of a fixture's batches gives with what Caffe gave. `start` is run before the
// first.
void replay(const std::string& name, const std::function<void(Layer&)>& start) {
  const Npz arrays = read_npz(kFolder + name + ".npz");
  const JsonValue meta = parse_json(arrays.at("meta").text());
  const auto batches = static_cast<size_t>(member(meta, "batches").number_value());
  const NetParameter net = net_of(name);
  size_t compared = 0;
  for (const LayerParameter& param : net.layer()) {
    LayerFixture f(param);
    f.set_up();
    start(*f.layer);
    for (size_t i = 0; i < batches; ++i) {
      f.forward();
      for (const auto& top : param.top()) {
        const NpzArray expected = batch_of(arrays.at("out_" + top), i);
        const Blob& found = f.blob(top);
        EXPECT_LE(golden_error(found.shape().dims(), found.data_as<float>(), expected, 1e-5,
                               member(meta, "atol").number_value()),
                  1)
            << top << " in batch " << i;
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, (arrays.size() - 1) * batches);
}

TEST(DummyData, GivesWhatCaffeGives) {
  replay("dummydata_exact", [](Layer&) {});
}

TEST(MemoryData, GivesWhatCaffeGives) {
  const Npz arrays = read_npz(kFolder + "memorydata_input.npz");
  const std::vector<float> data = arrays.at("data").as<float>();
  const std::vector<float> labels = arrays.at("label").as<float>();
  replay("memorydata", [&](Layer& layer) {
    dynamic_cast<MemoryDataLayer&>(layer).set_arrays(data.data(), labels.data(),
                                                     static_cast<int64_t>(labels.size()));
  });
}

const char* const kMemory =
    "name: 'm' type: 'MemoryData' top: 'data' top: 'label' "
    "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 1 }";

TEST(MemoryData, NewArraysStartAtTheirFirstRecord) {
  LayerFixture f(kMemory);
  f.set_up();
  auto& layer = dynamic_cast<MemoryDataLayer&>(*f.layer);
  std::vector<float> values(6);
  std::iota(values.begin(), values.end(), 0.0f);
  layer.set_arrays(values.data(), values.data(), 6);
  f.forward();
  f.forward();
  EXPECT_EQ(data_of<float>(f.blob("data")), (std::vector<float>{2, 3}));
  layer.set_arrays(values.data(), values.data(), 4);
  for (const float first : {0.0f, 2.0f, 0.0f}) {
    f.forward();
    EXPECT_EQ(data_of<float>(f.blob("label")), (std::vector<float>{first, first + 1}));
  }
}

TEST(MemoryData, RefusesWhatItCannotGive) {
  using ::testing::HasSubstr;
  LayerFixture f(kMemory);
  f.set_up();
  EXPECT_THAT(error_of([&] { f.forward(); }), HasSubstr("[layer m (MemoryData)] has no data yet"));
  auto& layer = dynamic_cast<MemoryDataLayer&>(*f.layer);
  const float values[3] = {};
  EXPECT_THAT(error_of([&] { layer.set_arrays(values, values, 3); }),
              HasSubstr("found 3 records, expected a positive multiple of batch_size (2)"));
  EXPECT_THAT(error_of([&] { layer.set_arrays(values, values, 0); }), HasSubstr("found 0 records"));
  EXPECT_THAT(error_of([&] { layer.set_arrays(values, nullptr, 2); }),
              HasSubstr("must both be given"));
}

const char* const kRandom =
    "name: 'd' type: 'DummyData' top: 'a' top: 'b' "
    "dummy_data_param { shape { dim: 3 dim: 4 } data_filler { type: 'gaussian' } data_filler { "
    "value: 2 } }";

TEST(DummyData, RandomTopsChangeWithEveryPassAndConstantOnesDoNot) {
  LayerFixture f(kRandom);
  f.set_up();
  f.forward();
  const std::vector<float> first = data_of<float>(f.blob("a"));
  f.forward();
  EXPECT_NE(data_of<float>(f.blob("a")), first);
  EXPECT_THAT(data_of<float>(f.blob("b")), ::testing::Each(2.0f));
}

TEST(DummyData, TrainingGoesOnWithTheSameNumbersAfterARestart) {
  const auto numbers = [](int64_t pass, int rank) {
    RunContext run;
    run.phase = TRAIN;
    run.pass = pass;
    run.rank = rank;
    run.world = 2;
    LayerFixture f(kRandom, run);
    f.set_up();
    f.forward();
    return data_of<float>(f.blob("a"));
  };
  EXPECT_EQ(numbers(5, 0), numbers(5, 0));
  EXPECT_NE(numbers(5, 0), numbers(6, 0));
  EXPECT_NE(numbers(5, 0), numbers(5, 1));
}

}  // namespace
}  // namespace caffe::testing
