#include <cstdlib>
#include <cstring>
#include <string>

#include "capi/caffe_c.h"
#include "capi/status.h"
#include "core/log.h"
#include "io/prototxt.h"

namespace caffe::capi {
namespace {

std::string& last_error() {
  static thread_local std::string message;
  return message;
}

void to_bytes(const google::protobuf::Message& message, uint8_t** bytes, size_t* size) {
  const std::string wire = message.SerializeAsString();
  auto* copy = static_cast<uint8_t*>(std::malloc(wire.empty() ? 1 : wire.size()));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, wire.data(), wire.size());
  *bytes = copy;
  *size = wire.size();
}

}  // namespace

int set_last_error(int status, const char* message) noexcept {
  try {
    last_error() = message;
  } catch (...) {
    last_error().clear();
  }
  return status;
}

}  // namespace caffe::capi

using caffe::capi::given;
using caffe::capi::guarded;

extern "C" {

const char* caffe_version(void) { return CAFFE_VERSION; }

const char* caffe_last_error(void) { return caffe::capi::last_error().c_str(); }

void caffe_set_log(caffe_log_fn function, void* user) {
  guarded([&] {
    if (function == nullptr) return caffe::set_log_sink(nullptr);
    caffe::set_log_sink([function, user](caffe::Severity severity, const char* file, int line,
                                         const std::string& text) {
      function(static_cast<int>(severity), file, line, text.c_str(), user);
    });
  });
}

int caffe_parse_text(const char* kind, const char* text, const char* name, uint8_t** bytes,
                     size_t* size) {
  return guarded([&] {
    const std::string what = given(kind, "kind");
    given(text, "text"), given(name, "name"), given(bytes, "bytes"), given(size, "size");
    if (what == "net") {
      caffe::capi::to_bytes(caffe::parse_net(text, name), bytes, size);
    } else if (what == "solver") {
      caffe::capi::to_bytes(caffe::parse_solver(text, name), bytes, size);
    } else {
      caffe::fail(caffe::ErrorCode::kInvalidArgument, "there is no message of kind '", what,
                  "'; use \"net\" or \"solver\"");
    }
  });
}

}  // extern "C"
