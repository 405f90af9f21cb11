// LMDB files: any bytes give records that can be read to their last byte, or an Error.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "core/error.h"
#include "data/record_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int file = memfd_create("lmdb", 0);
  if (write(file, data, size) == static_cast<ssize_t>(size)) {
    try {
      const auto source = caffe::open_records("LMDB", "/proc/self/fd/" + std::to_string(file));
      unsigned sum = 0;
      for (int64_t i = 0; i < source->size(); ++i) {
        const caffe::Record record = source->read(i);
        for (const char c : record.key) sum += static_cast<unsigned char>(c);
        for (const char c : record.value) sum += static_cast<unsigned char>(c);
      }
      volatile unsigned keep = sum;  // the reads must happen
      (void)keep;
    } catch (const caffe::Error&) {
    }
  }
  close(file);
  return 0;
}
