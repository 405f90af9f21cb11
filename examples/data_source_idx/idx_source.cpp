// A data format from outside: MNIST's own files, read where they lie.
// `source` is what both files' names begin with: "mnist/train" for mnist/train-images-idx3-ubyte
// and mnist/train-labels-idx1-ubyte (unpacked). Builds with nothing but the header:
//   c++ -std=c++17 -O2 -shared -fPIC -I INCLUDE idx_source.cpp -o libcaffe_data_idx.so
#include <caffe_data.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// An idx file of bytes: 0, 0, 8 (bytes), the number of extents, the extents (4 bytes each, the
// highest first), the bytes.
class IdxFile {
 public:
  IdxFile(const std::string& name, size_t axes) {
    std::ifstream in(name, std::ios::binary);
    if (!in) throw std::runtime_error("cannot open " + name);
    content_.assign(std::istreambuf_iterator<char>(in), {});
    start_ = 4 + 4 * axes;
    if (content_.size() < start_ || content_[0] || content_[1] || content_[2] != 8 ||
        content_[3] != axes) {
      throw std::runtime_error(name + " is no idx file of bytes with " + std::to_string(axes) +
                               " extents (a .gz file must be unpacked)");
    }
    uint64_t bytes = 1;
    for (size_t axis = 0; axis < axes; ++axis) {
      uint32_t extent = 0;
      for (size_t i = 0; i < 4; ++i) extent = extent << 8 | content_[4 + 4 * axis + i];
      extents_.push_back(extent);
      bytes *= extent;
    }
    if (content_.size() != start_ + bytes) {
      throw std::runtime_error(name + " has " + std::to_string(content_.size()) +
                               " bytes, expected " + std::to_string(start_ + bytes));
    }
  }

  uint32_t extent(size_t axis) const { return extents_[axis]; }
  const uint8_t* at(uint64_t byte) const { return content_.data() + start_ + byte; }

 private:
  std::vector<uint8_t> content_;
  std::vector<uint32_t> extents_;
  size_t start_ = 0;
};

struct Digits {
  explicit Digits(const std::string& prefix)
      : images(prefix + "-images-idx3-ubyte", 3), labels(prefix + "-labels-idx1-ubyte", 1) {
    if (images.extent(0) != labels.extent(0)) {
      throw std::runtime_error(std::to_string(images.extent(0)) + " images, but " +
                               std::to_string(labels.extent(0)) + " labels");
    }
  }

  IdxFile images, labels;
};

// No exception may leave a function of the table.
void* open_digits(const char* source, char* error, uint64_t error_size) {
  try {
    return new Digits(source);
  } catch (const std::exception& reason) {
    std::snprintf(error, error_size, "%s", reason.what());
    return nullptr;
  }
}

void close_digits(void* store) { delete static_cast<Digits*>(store); }

int64_t count_digits(void* store) { return static_cast<Digits*>(store)->images.extent(0); }

int read_digit(void* store, int64_t index, caffe_data_record* record, char*, uint64_t) {
  const Digits& digits = *static_cast<Digits*>(store);
  record->channels = 1;
  record->height = static_cast<int32_t>(digits.images.extent(1));
  record->width = static_cast<int32_t>(digits.images.extent(2));
  const auto number = static_cast<uint64_t>(index);
  record->pixels = digits.images.at(number * record->height * record->width);
  record->label = *digits.labels.at(number);
  return 0;
}

const caffe_data_api kApi = {CAFFE_DATA_VERSION,
                             sizeof(caffe_data_api),
                             open_digits,
                             close_digits,
                             count_digits,
                             read_digit,
                             nullptr};

}  // namespace

extern "C" const caffe_data_api* caffe_data_entry(void) { return &kApi; }
