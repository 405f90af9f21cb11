#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/row_file.h"

namespace caffe::testing {

inline void put_u32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift);
}

// One field of a row: kind, extents and bytes as data/row_file.h says.
inline std::string field(uint32_t kind, uint32_t channels, uint32_t height, uint32_t width,
                         const std::string& bytes) {
  std::string out;
  for (const uint32_t number : {kind, channels, height, width}) put_u32(out, number);
  put_u32(out, static_cast<uint32_t>(bytes.size()));
  return out + bytes;
}

inline std::string floats_field(const std::vector<float>& values) {
  return field(0, 0, 0, 0,
               {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
}

// A whole row.
inline std::string row_bytes(uint64_t order, const std::string& key, const std::string& value) {
  std::string out;
  put_u32(out, static_cast<uint32_t>(order));
  put_u32(out, static_cast<uint32_t>(order >> 32));
  put_u32(out, static_cast<uint32_t>(key.size()));
  put_u32(out, static_cast<uint32_t>(value.size()));
  return out + key + value;
}

// A file of rows with the keys r0, r1, ...; its name is "somewhere".
inline std::string write_rows(const std::string& path, const std::vector<std::string>& values) {
  RowFileWriter file(path, "somewhere");
  for (size_t i = 0; i < values.size(); ++i) {
    file.append(row_bytes(i, concat("r", i), values[i]));
  }
  file.finish();
  return path;
}

}  // namespace caffe::testing
