#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "capi/caffe_c.h"
#include "capi/net_handle.h"
#include "capi/options.h"
#include "capi/status.h"
#include "capi/values.h"
#include "net/upgrade.h"

using caffe::capi::given;
using caffe::capi::guarded;
using caffe::capi::make_strings;
using caffe::capi::Options;

namespace {

caffe::NetOptions net_options(const Options& options, int phase) {
  CAFFE_REQUIRE(phase == caffe::TRAIN || phase == caffe::TEST, "phase is ", phase,
                "; use 0 (TRAIN) or 1 (TEST)");
  caffe::NetOptions result;
  result.phase = static_cast<caffe::Phase>(phase);
  if (options.has("level")) result.level = static_cast<int>(options.integer("level", 0, INT32_MIN));
  result.stages = caffe::capi::split_list(options.text("stages"));
  result.observed = caffe::capi::split_list(options.text("observe"));
  result.precision = options.precision();
  result.forward_only = true;  // this interface has no backward for nets
  CAFFE_REQUIRE(options.has("begin") == options.has("end"),
                "caffe_net_create: the options begin and end go together");
  result.data.fed = options.flag("feed");
  result.data.resize = options.flag("resize");
  result.data.threads = static_cast<int>(options.integer("data_threads", 1, 1));
  CAFFE_REQUIRE(!(result.data.fed && options.has("begin")),
                "caffe_net_create: a net that is fed takes no options begin and end");
  if (options.has("begin")) {
    const int64_t begin = options.integer("begin", 0, 0);
    result.data.range = {begin, options.integer("end", 0, begin)};
  }
  return result;
}

caffe::NetParameter parse_net(const uint8_t* bytes, size_t size) {
  caffe::NetParameter param;
  CAFFE_REQUIRE(
      size <= INT32_MAX && param.ParseFromArray(given(bytes, "net"), static_cast<int>(size)),
      "the ", size, " bytes given as net are no serialised NetParameter");
  caffe::upgrade_net("net", &param);
  return param;
}

// The first layer that reads records, else the first without bottoms; -1 if there is none.
int batch_layer(const caffe::Net& net) {
  int first = -1;
  for (int i = net.layer_count() - 1; i >= 0; --i) {
    if (net.bottom_ids(i).empty() && !net.top_ids(i).empty()) first = i;
  }
  for (int i = 0; i < net.layer_count(); ++i) {
    if (net.layers()[static_cast<size_t>(i)]->record_keys()) return i;
  }
  return first;
}

const caffe::Layer* record_layer(const caffe_net& handle) {
  if (handle.batch_layer < 0) return nullptr;
  const caffe::Layer* layer = handle.net->layers()[static_cast<size_t>(handle.batch_layer)].get();
  return layer->record_keys() ? layer : nullptr;
}

int64_t batch_rows(const caffe_net& handle) {
  if (handle.batch_layer < 0) return 0;
  // Not a top's first extent, which may be time.
  if (const caffe::Layer* records = record_layer(handle)) {
    return static_cast<int64_t>(records->record_keys()->size());
  }
  const int top = handle.net->top_ids(handle.batch_layer)[0];
  const caffe::Shape& shape = handle.net->blobs()[static_cast<size_t>(top)]->shape();
  return shape.axes() > 0 ? shape[0] : 1;
}

std::vector<std::string> names_of(const caffe::Net& net, const std::vector<int>& blobs) {
  std::vector<std::string> names;
  names.reserve(blobs.size());
  for (const int blob : blobs) names.push_back(net.blob_names()[static_cast<size_t>(blob)]);
  return names;
}

void run_net(caffe_net& handle) {
  if (!handle.reshaped && !handle.plans_while_running &&
      handle.ran_generation == handle.net->plan_generation()) {
    const auto shared = handle.gate->together();
    handle.net->forward();
    return;
  }
  const auto alone = handle.gate->alone();
  handle.take_on_shapes();
  handle.net->forward();
  handle.ran_generation = handle.net->plan_generation();
}

int64_t forward(caffe_net& handle) {
  if (handle.left == 0) return 0;
  run_net(handle);
  const int64_t rows = batch_rows(handle);
  if (handle.left > 0) handle.left = rows == 0 ? 0 : std::max<int64_t>(handle.left - rows, 0);
  return rows;
}

}  // namespace

extern "C" {

int caffe_net_create(const uint8_t* net, size_t size, int phase, const char* options,
                     caffe_net** handle) {
  return guarded([&] {
    given(handle, "handle");
    const Options parsed("caffe_net_create", options,
                         {"weights", "threads", "begin", "end", "feed", "resize", "observe",
                          "stages", "level", "data_threads", "precision"});
    const caffe::NetOptions chosen = net_options(parsed, phase);
    const caffe::NetParameter param = parse_net(net, size);
    auto created = std::make_unique<caffe_net>(static_cast<int>(parsed.integer("threads", 0, 0)));
    created->compute.run([&] {
      created->net = std::make_unique<caffe::Net>(param, chosen);
      if (parsed.has("weights")) created->net->load_weights(parsed.text("weights"));
    });
    created->batch_layer = batch_layer(*created->net);
    for (const auto& layer : created->net->layers()) {
      created->plans_while_running |= layer->shapes_tops_by_value();
    }
    created->fed = chosen.data.fed;
    if (created->fed) created->left = 0;
    if (chosen.data.range) {
      CAFFE_REQUIRE(
          record_layer(*created),
          "caffe_net_create: options begin and end need a layer that reads records, and net '",
          created->net->name(), "' has none in this phase");
      created->left = chosen.data.range->second - chosen.data.range->first;
    }
    *handle = created.release();
  });
}

int caffe_net_output_names(const caffe_net* net, caffe_strings** names) {
  return guarded([&] {
    const caffe::Net& inside = *given(net, "net")->net;
    *given(names, "names") = make_strings(names_of(inside, inside.output_blobs()));
  });
}

int caffe_net_blob_names(const caffe_net* net, caffe_strings** names) {
  return guarded([&] {
    const caffe::Net& inside = *given(net, "net")->net;
    *given(names, "names") = make_strings(inside.blob_names());
  });
}

int caffe_net_feed(caffe_net* net, const char* layer, const char* path, int64_t* count) {
  return guarded([&] {
    given(net, "net"), given(path, "path");
    CAFFE_REQUIRE(net->fed, "net '", net->net->name(), "' was not created to be fed (feed=1)");
    const int index = net->net->find_layer(given(layer, "layer"));
    CAFFE_REQUIRE(index >= 0, "net '", net->net->name(), "' has no layer '", layer,
                  "' in this phase");
    const int64_t rows = net->net->layers()[static_cast<size_t>(index)]->read_rows(path);
    net->left = std::max(net->left, rows);
    if (count) *count = rows;
  });
}

int caffe_net_forward(caffe_net* net, int64_t* rows) {
  const int status = guarded([&] {
    given(net, "net"), given(rows, "rows");
    CAFFE_REQUIRE_CODE(!net->cancelled, caffe::ErrorCode::kCancelled, "the net was cancelled");
    *rows = net->compute.run([&] { return forward(*net); });
  });
  return status != CAFFE_OK && net && net->cancelled ? CAFFE_CANCELLED : status;
}

int caffe_net_record_keys(const caffe_net* net, caffe_strings** keys) {
  return guarded([&] {
    const caffe::Layer* records = record_layer(*given(net, "net"));
    given(keys, "keys");
    CAFFE_REQUIRE(records, "net '", net->net->name(),
                  "' has no layer that reads records with keys");
    *keys = make_strings(*records->record_keys());
  });
}

int caffe_net_blob_count(const caffe_net* net, const char* blob, int64_t* count) {
  return guarded([&] {
    const caffe::Net& inside = *given(net, "net")->net;
    *given(count, "count") = inside.blob(given(blob, "blob")).count();
  });
}

int caffe_net_blob_read(caffe_net* net, const char* blob, float* values, int64_t capacity) {
  return guarded([&] {
    const caffe::Blob& source = given(net, "net")->net->blob(given(blob, "blob"));
    given(values, "values");
    CAFFE_REQUIRE(source.count() <= capacity, "blob '", blob, "' has ", source.count(),
                  " values, but there is room for ", capacity);
    net->compute.run([&] {
      std::memcpy(values, source.data_as<float>(),
                  static_cast<size_t>(source.count()) * sizeof(float));
    });
  });
}

void caffe_net_cancel(caffe_net* net) {
  if (net == nullptr) return;
  net->cancelled = true;
  guarded([&] { net->net->cancel(); });
}

void caffe_net_free(caffe_net* net) { delete net; }

}  // extern "C"
