// Transports that cannot be used: ODD_VERSION another version of the interface, ODD_REASON why this
// machine will not do.
#include <caffe_transport.h>

namespace {
const char* unavailable() { return ODD_REASON; }
const caffe_transport_api kApi = {
    ODD_VERSION, sizeof(caffe_transport_api), unavailable, 0, {}, {}, {}, {}, {}, {}, {}, {}};
}  // namespace

extern "C" const caffe_transport_api* caffe_transport_entry(void) { return &kApi; }
