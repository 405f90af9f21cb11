// Model files (.caffemodel): any bytes give a message that a net can take, or an Error.
#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/log.h"
#include "fuzz/scratch_file.h"
#include "fuzz/small_net.h"
#include "io/snapshot.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe;
  static Net* const net = [] {
    set_log_threshold(Severity::kError);
    return new Net(parse_net(fuzz::kSmallNet, "small net"), NetOptions());
  }();
  const fuzz::ScratchFile file(data, size);
  if (!file.whole()) return 0;
  try {
    net->copy_trained_from(read_model(file.path()));
  } catch (const Error&) {
  }
  return 0;
}
