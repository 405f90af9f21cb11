// Nets whose Input layers are filled by the caller, and nets that share their parameters.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "capi/caffe_c.h"
#include "capi/net_handle.h"
#include "capi/status.h"
#include "capi/values.h"

using caffe::capi::given;
using caffe::capi::guarded;

namespace {

std::vector<std::string> input_names(const caffe::Net& net) {
  std::vector<std::string> names;
  for (const int blob : net.input_blobs())
    names.push_back(net.blob_names()[static_cast<size_t>(blob)]);
  return names;
}

caffe::Blob& input_blob(const caffe::Net& net, const std::string& name) {
  std::string known;
  for (const std::string& input : input_names(net)) {
    if (input == name) return net.blob(name);
    known += known.empty() ? input : ", " + input;
  }
  caffe::fail(caffe::ErrorCode::kInvalidArgument, "blob '", name, "' is no input of net '",
              net.name(), "'; its inputs are ", known.empty() ? "none" : known);
}

}  // namespace

extern "C" {

int caffe_net_input_names(const caffe_net* net, caffe_strings** names) {
  return guarded([&] {
    *given(names, "names") = caffe::capi::make_strings(input_names(*given(net, "net")->net));
  });
}

int caffe_net_blob_shape(caffe_net* net, const char* blob, int64_t* dims, int capacity, int* axes) {
  return guarded([&] {
    if (given(net, "net")->reshaped) {
      net->compute.run([&] {
        const auto alone = net->gate->alone();
        net->take_on_shapes();
      });
    }
    const caffe::Shape& shape = net->net->blob(given(blob, "blob")).shape();
    given(dims, "dims");
    *given(axes, "axes") = shape.axes();
    CAFFE_REQUIRE(shape.axes() <= capacity, "blob '", blob, "' has ", shape.axes(),
                  " axes, but there is room for ", capacity);
    std::copy(shape.dims().begin(), shape.dims().end(), dims);
  });
}

int caffe_net_set_input(caffe_net* net, const char* blob, const int64_t* dims, int axes,
                        const float* values) {
  return guarded([&] {
    caffe::Blob& target = input_blob(*given(net, "net")->net, given(blob, "blob"));
    given(dims, "dims"), given(values, "values");
    const caffe::Shape shape(std::vector<int64_t>(dims, dims + axes));
    for (const int64_t extent : shape.dims()) {
      CAFFE_REQUIRE(extent > 0, "input '", blob, "' is given the shape ", shape.str(),
                    "; every extent must be at least 1");
    }
    net->compute.run([&] {
      if (target.shape() != shape) {
        target.reshape(shape);
        net->reshaped = true;
      }
      std::memcpy(target.overwrite_data<float>(), values,
                  static_cast<size_t>(shape.count()) * sizeof(float));
    });
  });
}

int caffe_net_share(caffe_net* net, caffe_net* other) {
  return guarded([&] {
    given(net, "net"), given(other, "other");
    net->compute.run([&] {
      const auto alone = other->gate->alone();
      net->net->share_trained_with(*other->net);
    });
    net->gate = other->gate;
    net->ran_generation = -1;
  });
}

}  // extern "C"
