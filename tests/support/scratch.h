#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace caffe::testing {

// A folder that lives as long as the object. Fixtures are copied into it before a test reads them.
class Scratch {
 public:
  Scratch() : path_((std::filesystem::temp_directory_path() / "caffe-test-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot create " + path_);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::string path(const std::string& name = "") const {
    return name.empty() ? path_ : path_ + "/" + name;
  }

  // Copies tests/golden/<name> (file or folder) here; gives the copy's path.
  std::string golden(const std::string& name) const {
    const std::filesystem::path from =
        std::filesystem::path(CAFFE_SOURCE_DIR) / "tests/golden" / name;
    const std::filesystem::path to = std::filesystem::path(path_) / from.filename();
    std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
    return to.string();
  }

 private:
  std::string path_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

}  // namespace caffe::testing
