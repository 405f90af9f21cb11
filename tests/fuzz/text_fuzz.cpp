// Net and solver files, and their upgrade: any text gives a message or an Error.
#include <cstdint>
#include <string>

#include "core/error.h"
#include "io/prototxt.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    caffe::parse_net(text, "net.prototxt");
  } catch (const caffe::Error&) {
  }
  try {
    caffe::parse_solver(text, "solver.prototxt");
  } catch (const caffe::Error&) {
  }
  return 0;
}
