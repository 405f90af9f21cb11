#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/record_source.h"

namespace caffe {

// A file of rows: what tasks of Spark leave on the local disk for the data layers of their net. All
// numbers are little-endian.
//
//   header   "CAFFEROW", u32 size of the name, name (where the rows came from, for messages)
//   rows     i64 order, u32 size of the key, u32 size of the value, key, value
//   index    for each row, in ascending order: u64 offset of its row
//   trailer  u64 number of rows, u64 offset of the index, "CAFFEROW"
//
// A value is a list of fields, one for each top:
//
//   u32 kind, u32 channels, u32 height, u32 width, u32 size, `size` bytes
class RowFileWriter {
 public:
  // Replaces `path`. Errors of this class are kIo and name the file.
  RowFileWriter(const std::string& path, const std::string& name);
  ~RowFileWriter();
  RowFileWriter(const RowFileWriter&) = delete;
  RowFileWriter& operator=(const RowFileWriter&) = delete;

  // Whole rows, as they stand in the file, back to back. Throws kInvalidArgument if they are not.
  void append(std::string_view rows);
  // Writes index and trailer; nothing can be appended afterwards. Returns the number of rows.
  int64_t finish();

 private:
  struct Entry {
    int64_t order;
    uint64_t offset;
  };
  void write(const void* bytes, size_t size);

  const std::string path_;
  int descriptor_ = -1;
  uint64_t offset_ = 0;
  std::vector<Entry> entries_;
};

// The rows of a finished file, in ascending order; its name is the one in the header. A damaged
// file is an error (kData).
std::shared_ptr<const RecordSource> open_row_file(const std::string& path);

enum class RowFieldKind : uint32_t {
  kFloats = 0,   // float32, channels x height x width
  kPixels = 1,   // bytes, height x width x channels
  kEncoded = 2,  // an image file; extents that are not 0 are what it must decode to
};

struct RowField {
  RowFieldKind kind = RowFieldKind::kFloats;
  int channels = 0;
  int height = 0;
  int width = 0;
  std::string_view bytes;
};

// Field `index` of a row's value. Throws kData, without naming the row.
RowField row_field(std::string_view value, int index);

}  // namespace caffe
