#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace caffe::testing {

// One array of an .npz file. Numbers of any type are held as double, which is exact for all that
// fixtures contain.
struct NpzArray {
  std::vector<int64_t> shape;  // empty: a scalar
  std::vector<double> values;  // row-major

  template <typename T>
  std::vector<T> as() const {
    return std::vector<T>(values.begin(), values.end());
  }
  // Arrays of bytes that hold text, as `meta` does.
  std::string text() const {
    std::string bytes;
    for (const double value : values) bytes.push_back(static_cast<char>(static_cast<int>(value)));
    return bytes;
  }
};
using Npz = std::map<std::string, NpzArray>;

namespace npz_detail {

template <typename T>
T read(const std::string& bytes, size_t at) {
  if (at + sizeof(T) > bytes.size()) throw std::runtime_error("npz: the file ends too early");
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

template <typename T>
void decode(const std::string& bytes, size_t at, std::vector<double>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<double>(read<T>(bytes, at + i * sizeof(T)));
  }
}

// The text between `key` and any of `stops` in the header of an .npy file, a Python dictionary.
inline std::string field(const std::string& header, const std::string& key, char stop) {
  const size_t begin = header.find(key);
  if (begin == std::string::npos) throw std::runtime_error("npz: no " + key + " in " + header);
  const size_t from = begin + key.size();
  return header.substr(from, header.find(stop, from) - from);
}

inline NpzArray parse_npy(const std::string& bytes, size_t at) {
  if (bytes.compare(at, 6, "\x93NUMPY") != 0)
    throw std::runtime_error("npz: a member is no .npy array");
  const bool first_version = bytes[at + 6] == 1;
  const size_t header_at = at + (first_version ? 10 : 12);
  const size_t header_size =
      first_version ? read<uint16_t>(bytes, at + 8) : read<uint32_t>(bytes, at + 8);
  const std::string header = bytes.substr(header_at, header_size);
  NpzArray array;
  size_t count = 1;
  const std::string dims = field(header, "'shape': (", ')');
  for (size_t i = 0; i < dims.size();) {
    if (dims[i] < '0' || dims[i] > '9') {
      ++i;
      continue;
    }
    size_t used = 0;
    array.shape.push_back(std::stoll(dims.substr(i), &used));
    count *= static_cast<size_t>(array.shape.back());
    i += used;
  }
  if (field(header, "'fortran_order': ", ',') != "False")
    throw std::runtime_error("npz: column-major");
  array.values.resize(count);
  const std::string type = field(header, "'descr': '", '\'');
  const size_t data_at = header_at + header_size;
  if (type == "<f4") {
    decode<float>(bytes, data_at, array.values);
  } else if (type == "<f8") {
    decode<double>(bytes, data_at, array.values);
  } else if (type == "<i8") {
    decode<int64_t>(bytes, data_at, array.values);
  } else if (type == "<i4") {
    decode<int32_t>(bytes, data_at, array.values);
  } else if (type == "|u1" || type == "|b1") {
    decode<uint8_t>(bytes, data_at, array.values);
  } else {
    throw std::runtime_error("npz: element type " + type + " is not supported");
  }
  return array;
}

}  // namespace npz_detail

// All arrays of a NumPy .npz file that was stored without compression. Throws std::runtime_error.
inline Npz read_npz(const std::string& path) {
  using npz_detail::read;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("npz: cannot open " + path);
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const size_t end = bytes.rfind("PK\5\6");
  if (end == std::string::npos) throw std::runtime_error("npz: " + path + " is no zip archive");
  const int members = read<uint16_t>(bytes, end + 10);
  size_t at = read<uint32_t>(bytes, end + 16);
  Npz arrays;
  for (int i = 0; i < members; ++i) {
    if (read<uint32_t>(bytes, at) != 0x02014b50) throw std::runtime_error("npz: damaged " + path);
    if (read<uint16_t>(bytes, at + 10) != 0) throw std::runtime_error("npz: compressed: " + path);
    const size_t name_size = read<uint16_t>(bytes, at + 28);
    std::string name = bytes.substr(at + 46, name_size);
    if (name.size() > 4 && name.ends_with(".npy")) name.resize(name.size() - 4);
    const size_t local = read<uint32_t>(bytes, at + 42);
    const size_t data =
        local + 30 + read<uint16_t>(bytes, local + 26) + read<uint16_t>(bytes, local + 28);
    arrays[name] = npz_detail::parse_npy(bytes, data);
    at += 46 + name_size + read<uint16_t>(bytes, at + 30) + read<uint16_t>(bytes, at + 32);
  }
  return arrays;
}

}  // namespace caffe::testing
