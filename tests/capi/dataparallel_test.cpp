// The fixtures of tests/golden/dataparallel, replayed by as many processes as they have workers,
// over TCP.
#include <gmock/gmock.h>

#include "capi/group.h"
#include "core/error.h"
#include "data/record_writer.h"
#include "proto/caffe.pb.h"
#include "solvers/update_rule.h"
#include "support/compare.h"
#include "support/json.h"

namespace caffe::testing {
namespace {

using ::testing::Each;

struct Fixture {
  explicit Fixture(const std::string& name)
      : arrays(read_npz(CAFFE_SOURCE_DIR "/tests/golden/dataparallel/" + name + ".npz")),
        meta(parse_json(arrays.at("meta").text())) {
    for (const std::string& file : {name + ".prototxt", name + "_solver.prototxt"}) {
      scratch.golden("dataparallel/" + file);
    }
    net.ParseFromString(message("net", read_file(scratch.path(name + ".prototxt"))));
    solver.ParseFromString(message("solver", read_file(scratch.path(name + "_solver.prototxt"))));
  }

  int number(const std::string& key) const {
    return static_cast<int>(member(meta, key).number_value());
  }

  Scratch scratch;
  Npz arrays;
  JsonValue meta;
  NetParameter net;
  SolverParameter solver;
};

// The fixture names the rows of each worker's batches; in a store in this order the workers'
// streams hold just them.
void write_records(const Fixture& fixture, const std::string& path) {
  const NpzArray& rows = fixture.arrays.at("rows");  // iteration x sub-batch x worker x row
  const NpzArray& data = fixture.arrays.at("data");
  const NpzArray& label = fixture.arrays.at("label");
  const auto workers = static_cast<size_t>(rows.shape[2]),
             batch = static_cast<size_t>(rows.shape[3]);
  const size_t size = data.values.size() / static_cast<size_t>(data.shape[0]);
  const auto writer = create_records("LMDB", path);
  for (size_t step = 0; step < rows.values.size() / (workers * batch); ++step) {
    for (size_t i = 0; i < workers * batch; ++i) {
      const size_t worker = i % workers, row_of_batch = i / workers;
      const auto row =
          static_cast<size_t>(rows.values[(step * workers + worker) * batch + row_of_batch]);
      Datum datum;
      datum.set_channels(static_cast<int32_t>(data.shape[1]));
      datum.set_height(data.shape.size() > 2 ? static_cast<int32_t>(data.shape[2]) : 1);
      datum.set_width(data.shape.size() > 3 ? static_cast<int32_t>(data.shape[3]) : 1);
      for (size_t j = 0; j < size; ++j)
        datum.add_float_data(static_cast<float>(data.values[row * size + j]));
      datum.set_label(static_cast<int32_t>(label.values[row]));
      char key[16];
      std::snprintf(key, sizeof(key), "%08zu", step * workers * batch + i);
      writer->put(key, datum.SerializeAsString());
    }
  }
  writer->finish();
}

// The fixture's net, reading those records, and its solver around it.
std::string solver_bytes(const Fixture& fixture, const std::string& records) {
  SolverParameter solver = fixture.solver;
  solver.clear_net();
  *solver.mutable_net_param() = fixture.net;
  LayerParameter* input = solver.mutable_net_param()->mutable_layer(0);
  EXPECT_EQ(input->type(), "Input");
  input->set_type("Data");
  input->clear_input_param();
  input->mutable_data_param()->set_source(records);
  input->mutable_data_param()->set_backend(DataParameter::LMDB);
  input->mutable_data_param()->set_batch_size(static_cast<uint32_t>(fixture.number("batch")));
  return solver.SerializeAsString();
}

std::string key_of(const std::string& layer, int index) { return concat("w_", layer, "_", index); }

// The weights of the fixture at iteration 0.
void write_start(const Fixture& fixture, const std::string& path) {
  NetParameter model;
  for (const LayerParameter& layer : fixture.net.layer()) {
    LayerParameter* out = model.add_layer();
    out->set_name(layer.name());
    out->set_type(layer.type());
    for (int i = 0; fixture.arrays.count(key_of(layer.name(), i)) > 0; ++i) {
      const NpzArray& all = fixture.arrays.at(key_of(layer.name(), i));
      BlobProto* blob = out->add_blobs();
      for (size_t axis = 1; axis < all.shape.size(); ++axis)
        blob->mutable_shape()->add_dim(all.shape[axis]);
      const size_t size = all.values.size() / static_cast<size_t>(all.shape[0]);
      for (size_t j = 0; j < size; ++j) blob->add_data(static_cast<float>(all.values[j]));
    }
  }
  write_file(path, model.SerializeAsString());
}

// Rank 0 also keeps BatchNorm's statistics, which are each worker's own.
void compare(const Fixture& fixture, const NetParameter& found, int rank, int iter) {
  const double rtol = member(fixture.meta, "rtol").number_value(),
               atol = member(fixture.meta, "atol").number_value();
  size_t compared = 0;
  for (const LayerParameter& layer : found.layer()) {
    if (layer.type() == "BatchNorm" && rank != 0) continue;
    for (int i = 0; i < layer.blobs_size(); ++i) {
      const NpzArray& all = fixture.arrays.at(key_of(layer.name(), i));
      NpzArray expected;
      expected.shape.assign(all.shape.begin() + 1, all.shape.end());
      const size_t size = all.values.size() / static_cast<size_t>(all.shape[0]);
      expected.values.assign(all.values.begin() + static_cast<int64_t>(size) * iter,
                             all.values.begin() + static_cast<int64_t>(size) * (iter + 1));
      const auto& dims = layer.blobs(i).shape().dim();
      EXPECT_LE(golden_error(std::vector<int64_t>(dims.begin(), dims.end()),
                             layer.blobs(i).data().data(), expected, rtol, atol),
                1)
          << layer.name() << " blob " << i << " after iteration " << iter << " on rank " << rank;
      ++compared;
    }
  }
  EXPECT_GT(compared, 0u);
}

class DataParallel : public ::testing::TestWithParam<std::string> {};

TEST_P(DataParallel, GivesTheWeightsThatCaffeGives) {
  const Fixture fixture(GetParam());
  if (!SolverRegistry::has(fixture.solver.type()))
    GTEST_SKIP() << "Unknown solver type: " << fixture.solver.type();
  const int iters = fixture.number("iters"), world = fixture.number("workers");
  const std::string records = fixture.scratch.path("records"),
                    start = fixture.scratch.path("start.caffemodel");
  write_records(fixture, records);
  write_start(fixture, start);
  const std::string wire = solver_bytes(fixture, records);
  const auto model = [&](int rank, int iter) {
    return fixture.scratch.path(concat("r", rank, "_", iter, ".caffemodel"));
  };
  const auto ends = run_processes(world, [&](const Rank& rank) {
    caffe_solver* raw = nullptr;
    must(caffe_solver_create(reinterpret_cast<const uint8_t*>(wire.data()), wire.size(),
                             (rank.options + "weights=" + start).c_str(), &raw));
    const SolverHandle solver(raw);
    const CommHandle comm = join(rank, raw);
    for (int iter = 1; iter <= iters; ++iter) {
      must(caffe_solver_step(raw, 1, nullptr));
      must(caffe_solver_snapshot(raw, model(rank.rank, iter).c_str(), nullptr, nullptr));
    }
  });
  ASSERT_THAT(ends, Each(""));
  for (int rank = 0; rank < world; ++rank) {
    for (int iter = 1; iter <= iters; ++iter) {
      NetParameter found;
      ASSERT_TRUE(found.ParseFromString(read_file(model(rank, iter))));
      compare(fixture, found, rank, iter);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, DataParallel,
                         ::testing::Values("sgd_n2", "sgd_n4_clip", "conv_bn_n2", "adam_n3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace caffe::testing
