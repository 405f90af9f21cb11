// LMDB files: any bytes give records that can be read to their last byte, or an Error.
#include <cstdint>

#include "core/error.h"
#include "data/record_source.h"
#include "fuzz/scratch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const caffe::fuzz::ScratchFile file(data, size);
  if (!file.whole()) return 0;
  try {
    const auto source = caffe::open_records("LMDB", file.path());
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
  return 0;
}
