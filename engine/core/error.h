#pragma once

#include <exception>
#include <sstream>
#include <string>
#include <utility>

namespace caffe {

// What kind of mistake an error is; the language bindings map each to an exception type.
enum class ErrorCode {
  kInvalidArgument = 1,  // a configuration, shape or call is wrong
  kIo = 2,               // a file cannot be read or written
  kData = 3,             // a file was read and its content is wrong
  kCommunication = 4,    // a peer is gone, late or not who it should be
  kCancelled = 5,        // the caller asked to stop
  kInternal = 6,         // a defect of this library
};

// The only exception the engine throws. Messages say what was found, what was expected and what to
// do.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}
  ErrorCode code() const { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& message() const { return message_; }

  // Puts where it happened in front: "[layer conv1 (Convolution)] ...".
  Error& prepend(const std::string& context) {
    message_ = context + " " + message_;
    return *this;
  }

 private:
  ErrorCode code_;
  std::string message_;
};

// All parts written one after another, by operator<<.
template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  ((out << parts), ...);
  return out.str();
}

template <typename... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
  throw Error(code, concat(parts...));
}

}  // namespace caffe

// Throws unless the condition holds; the message parts are evaluated only then. A macro for that
// alone.
#define CAFFE_REQUIRE_CODE(condition, code, ...) \
  do {                                           \
    if (!(condition)) [[unlikely]] {             \
      ::caffe::fail((code), __VA_ARGS__);        \
    }                                            \
  } while (false)
#define CAFFE_REQUIRE(condition, ...) \
  CAFFE_REQUIRE_CODE(condition, ::caffe::ErrorCode::kInvalidArgument, __VA_ARGS__)
