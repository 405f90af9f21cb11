// What strangers may send to a worker's port: any bytes end a handshake with a verdict, and never
// with one that lets them in, because they do not know the secret.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "collective/handshake.h"

namespace {

void feed(caffe::Handshake handshake, const char* data, size_t size) {
  while (size > 0 && !handshake.finished()) {
    const size_t wanted = handshake.wanted();
    if (wanted == 0) {
      std::fprintf(stderr, "an unfinished handshake wants nothing\n");
      std::abort();
    }
    const size_t step = std::min(size, wanted);
    handshake.feed(data, step);
    data += step;
    size -= step;
    handshake.output().clear();
  }
  if (handshake.finished() && handshake.refusal() == caffe::Verdict::kNone) {
    std::fprintf(stderr, "a stranger was let in\n");
    std::abort();
  }
  handshake.reason();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe;
  Identity self;
  self.world = 3;
  self.epoch = "attempt 1";
  self.transport = "tcp";
  const std::string secret = "0123456789abcdef0123456789abcdef";
  const auto* bytes = reinterpret_cast<const char*>(data);
  feed(Handshake::accept(self, secret, [](const Claim&) { return Verdict::kNone; }), bytes, size);
  self.rank = 1;
  feed(Handshake::dial(self, secret, 0, 0), bytes, size);
  return 0;
}
