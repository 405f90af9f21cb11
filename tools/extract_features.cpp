// Writes blobs of a net, computed from the records of its data layer, into LMDBs or LevelDBs of
// Datum records: one store a blob, one record a row.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "data/record_writer.h"
#include "io/prototxt.h"
#include "net/net.h"
#include "proto/caffe.pb.h"
#include "tools/common/command.h"

namespace caffe {
namespace {

// One blob and the store that its rows go into.
class FeatureStore {
 public:
  FeatureStore(const Net& net, const std::string& blob, const std::string& path,
               const std::string& backend)
      : blob_(net.blob(blob)), name_(blob) {
    require_datum_shape();
    CAFFE_LOG_INFO("Opening dataset ", path);
    writer_ = create_records(backend, path);
  }

  // The rows of one batch: axis 0 counts them.
  void add_batch() {
    require_datum_shape();
    const Shape& shape = blob_.shape();
    const int64_t rows = shape.extent_or_one(0);
    const int64_t length = rows == 0 ? 0 : shape.count() / rows;
    const float* values = blob_.data_as<float>();
    Datum datum;
    datum.set_channels(static_cast<int>(shape.extent_or_one(1)));
    datum.set_height(static_cast<int>(shape.extent_or_one(2)));
    datum.set_width(static_cast<int>(shape.extent_or_one(3)));
    for (int64_t row = 0; row < rows; ++row, values += length) {
      datum.mutable_float_data()->Assign(values, values + length);
      datum.SerializeToString(&value_);
      char key[32];
      std::snprintf(key, sizeof(key), "%010lld", static_cast<long long>(count_));
      writer_->put(key, value_);
      if (++count_ % 1000 == 0) log_count();
    }
  }

  void finish() {
    writer_->finish();
    if (count_ % 1000 != 0) log_count();
  }

 private:
  void log_count() const {
    CAFFE_LOG_INFO("Extracted features of ", count_, " query images for feature blob ", name_);
  }

  // A Datum has channels, height and width, so that the blob may have four axes.
  void require_datum_shape() const {
    const Shape& shape = blob_.shape();
    CAFFE_REQUIRE(
        shape.axes() <= 4 && shape.count() / std::max<int64_t>(1, shape.extent_or_one(0)) <=
                                 INT32_MAX / static_cast<int64_t>(sizeof(float)),
        "blob ", name_, " has the shape ", shape.str(),
        "; a record holds at most four axes (rows, channels, height, width) and 2 GiB");
  }

  const Blob& blob_;
  const std::string name_;
  std::unique_ptr<RecordWriter> writer_;
  std::string value_;
  int64_t count_ = 0;
};

// "0" of "DEVICE_ID=0".
std::string device_number(const std::string& word) {
  const std::string prefix = "DEVICE_ID=";
  return word.rfind(prefix, 0) == 0 ? word.substr(prefix.size()) : word;
}

void refuse_gpu(const std::vector<std::string>& names) {
  if (names.size() <= 6) return;
  CAFFE_REQUIRE(names[6] == "CPU" || names[6] == "GPU", "the seventh name is CPU or GPU, not \"",
                names[6], "\"");
  CAFFE_REQUIRE(names[6] == "CPU",
                "GPU: this build computes on the CPU only; say CPU or leave it out");
  if (names.size() > 7) parse_number("DEVICE_ID", device_number(names[7]), 0);
}

void extract(const Flags& flags) {
  const std::vector<std::string>& names = flags.positional();
  const std::vector<std::string> blobs = split_list(names[2]);
  const std::vector<std::string> paths = split_list(names[3]);
  CAFFE_REQUIRE(!blobs.empty() && blobs.size() == paths.size(), "found ", blobs.size(), " blobs (",
                names[2], ") and ", paths.size(), " stores (", names[3],
                "), expected as many stores as blobs, at least one");
  CAFFE_REQUIRE(std::set<std::string>(paths.begin(), paths.end()).size() == paths.size(),
                "two blobs cannot go into one store (", names[3], ")");
  const int64_t batches = parse_number("num_mini_batches", names[4], 1);
  const std::string backend = upper_case(names[5]);
  refuse_gpu(names);
  apply_threads_flag(flags);
  CAFFE_LOG_INFO("Using CPU");
  NetOptions options;
  options.phase = TEST;
  options.observed = blobs;
  options.precision = precision_flag(flags).value_or(Precision::kF32);
  options.seed = default_seed();
  options.forward_only = true;
  Net net(read_net(names[1]), options);
  net.load_weights(names[0]);
  std::vector<std::unique_ptr<FeatureStore>> stores;
  for (size_t i = 0; i < blobs.size(); ++i)
    stores.push_back(std::make_unique<FeatureStore>(net, blobs[i], paths[i], backend));
  CAFFE_LOG_INFO("Extracting Features");
  for (int64_t batch = 0; batch < batches; ++batch) {
    net.forward();
    for (const auto& store : stores) store->add_batch();
  }
  for (const auto& store : stores) store->finish();
  CAFFE_LOG_INFO("Successfully extracted the features!");
}

const char* const kAbout =
    "Runs a trained net on the records of its data layer (phase TEST) and writes blobs into stores "
    "of Datum records: one store a blob, one record a row, with float_data and the keys "
    "0000000000, 0000000001, ...\n"
    "pretrained_net_param: the model, .caffemodel or .caffemodel.h5\n"
    "feature_extraction_proto_file: the net's prototxt, with a data layer\n"
    "blob_names: comma-separated blobs of the net; as many as store names\n"
    "save_names: comma-separated stores, which are created\n"
    "num_mini_batches: how many batches to run; the data layer's batch_size rows in each\n"
    "db_type: lmdb or leveldb\n"
    "CPU, DEVICE_ID=0: accepted for scripts; GPU is refused in this build";

Program program() {
  Program program{"extract_features",
                  "pretrained_net_param feature_extraction_proto_file blob_names save_names "
                  "num_mini_batches db_type [CPU/GPU] [DEVICE_ID=0]",
                  kAbout, Flags(),
                  "extract_features lenet.caffemodel lenet_train_test.prototxt ip1,ip2 "
                  "ip1_lmdb,ip2_lmdb 100 lmdb"};
  add_threads_flag(&program.flags);
  add_precision_flag(&program.flags);
  return program;
}

}  // namespace
}  // namespace caffe

int main(int argc, char** argv) {
  caffe::start_with_passive_threads(argv);
  return caffe::run_program(caffe::program(), argc, argv, caffe::extract);
}
