#pragma once

#include <cstdint>
#include <string>

namespace caffe {

// An array of bytes in the idx format of the MNIST files, plain or gzip-compressed.
struct IdxFile {
  int64_t items = 0;
  int height = 1;  // 1 x 1 for labels
  int width = 1;
  std::string values;  // items x height x width
};

// Reads images (magic number 2051) or labels (2049). Throws kIo or kData naming the file and what
// is wrong.
IdxFile read_idx_images(const std::string& path);
IdxFile read_idx_labels(const std::string& path);

}  // namespace caffe
