#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/shape.h"

namespace caffe {

// An HDF5 file. libhdf5 is loaded when the first file is opened (so that nothing else needs it);
// where it is missing, opening throws kIo with the package to install. Names are paths within the
// file: "data/conv1/0". Errors are kIo or kData and name the file and the dataset. Objects of one
// file must be used by one thread at a time.
class Hdf5File {
 public:
  static Hdf5File open(const std::string& path);    // to read
  static Hdf5File create(const std::string& path);  // to write; replaces a file that exists
  ~Hdf5File();
  Hdf5File(Hdf5File&&) noexcept;
  Hdf5File& operator=(Hdf5File&&) noexcept;

  // Whether there is a dataset or group of this name.
  bool has(const std::string& name) const;
  // Names directly inside a group ("/" or "": the file itself), in ascending order.
  std::vector<std::string> children(const std::string& group) const;

  Shape shape(const std::string& dataset) const;
  // Integers and floats of any width, converted to float, row-major. Returns the shape.
  Shape read_floats(const std::string& dataset, std::vector<float>& values) const;
  // A dataset of one integer.
  int64_t read_int(const std::string& dataset) const;
  std::string read_string(const std::string& dataset) const;

  // Groups on the way are created. A name that exists already is an error, but for groups.
  void create_group(const std::string& name);
  void write_floats(const std::string& dataset, const Shape& shape, const float* values);
  void write_int(const std::string& dataset,
                 int32_t value);  // shape [1], as Caffe's solver state has it
  void write_string(const std::string& dataset, const std::string& text);

  // Writes everything to the disk and closes; only this reports a full disk. Later calls are
  // errors.
  void close();

 private:
  struct State;
  explicit Hdf5File(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Whether libhdf5 can be loaded on this machine.
bool hdf5_available();

}  // namespace caffe
