#include <algorithm>
#include <fstream>
#include <optional>

#include "data/hdf5.h"
#include "data/permutation.h"
#include "layers/data_schedule.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Rows of HDF5 files, one dataset per top, named as the top. `source` lists the files, one a line;
// they form one stream that wraps, and batches run across files. One file at a time is held in
// memory. With shuffling the order of the files and that of the rows within each file are drawn
// anew for every epoch.
class HDF5DataLayer : public PortableLayer<HDF5DataLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(0); }
  Arity tops() const override { return Arity::at_least(1); }
  bool has_backward() const override { return false; }

  void set_up(const Blobs&, const Blobs& top) override {
    const HDF5DataParameter& data = param().hdf5_data_param();
    CAFFE_REQUIRE(!param().has_transform_param(),
                  "HDF5Data does not transform data: remove transform_param");
    CAFFE_REQUIRE(data.batch_size() > 0, "hdf5_data_param { batch_size } is ", data.batch_size(),
                  ", expected at least 1");
    CAFFE_REQUIRE(param().top_size() == static_cast<int>(top.size()),
                  "HDF5Data needs a name for every top");
    shuffle_ = data.shuffle() || context().data.shuffle;
    list_files(data.source());
    schedule_ = data_schedule(context(), data.batch_size());
    rows_ = std::max<int64_t>(schedule_(0).count, 1);
  }

  void reshape(const Blobs&, const Blobs& top) override {
    for (size_t i = 0; i < top.size(); ++i) {
      Shape shape = row_shapes_[i];
      shape[0] = rows_;
      top[i]->reshape(shape);
    }
  }

  void prepare(const Blobs& top) override {
    batch_ = schedule_(next_batch_);
    CAFFE_REQUIRE(batch_.count > 0, "all rows this layer was to read have been read");
    ++next_batch_;
    rows_ = batch_.count;
    reshape({}, top);
  }

  template <typename T>
  void forward(const Blobs&, const Blobs& top) {
    std::vector<T*> out;
    for (const Blob* blob : top) out.push_back(blob->overwrite_data<T>());
    for (int64_t row = 0; row < batch_.count; ++row) {
      const int64_t source_row = seek(batch_.first + row * batch_.stride);
      for (size_t i = 0; i < top.size(); ++i) {
        const int64_t size = row_shapes_[i].count(1);
        out[i] = std::copy_n(values_[i].data() + source_row * size, size, out[i]);
      }
    }
  }

 private:
  struct File {
    std::string path;
    int64_t rows;
  };

  void list_files(const std::string& list) {
    std::ifstream in(list);
    CAFFE_REQUIRE_CODE(in.good(), ErrorCode::kIo, "cannot open the list of HDF5 files '", list,
                       "' (hdf5_data_param { source })");
    for (std::string path; in >> path;) {
      const Hdf5File file = Hdf5File::open(path);
      files_.push_back({path, check_shapes(path, file)});
      total_rows_ += files_.back().rows;
    }
    CAFFE_REQUIRE_CODE(total_rows_ > 0, ErrorCode::kData, "the list ", list,
                       " leads to no rows, expected at least one");
  }

  // Rows of a file whose datasets must agree with those of the first file but for the number of
  // rows.
  int64_t check_shapes(const std::string& path, const Hdf5File& file) {
    int64_t rows = -1;
    for (int i = 0; i < param().top_size(); ++i) {
      Shape shape = file.shape(param().top(i));
      CAFFE_REQUIRE_CODE(shape.axes() >= 1, ErrorCode::kData, path, ": dataset '", param().top(i),
                         "' is a single value, expected rows");
      CAFFE_REQUIRE_CODE(rows < 0 || rows == shape[0], ErrorCode::kData, path, ": dataset '",
                         param().top(i), "' has ", shape[0], " rows, but '", param().top(0),
                         "' has ", rows);
      rows = shape[0];
      shape[0] = 1;
      if (files_.empty()) row_shapes_.push_back(shape);
      const Shape& first = row_shapes_[static_cast<size_t>(i)];
      CAFFE_REQUIRE_CODE(shape == first, ErrorCode::kData, path, ": rows of dataset '",
                         param().top(i), "' have shape ", shape.str(), ", but those of ",
                         files_.front().path, " have ", first.str());
    }
    return rows;
  }

  // Loads the file that holds a global position; gives the row within it.
  int64_t seek(int64_t position) {
    const int64_t epoch = position / total_rows_;
    int64_t row = position % total_rows_;
    const auto count = static_cast<int64_t>(files_.size());
    const Permutation order(context().seed, static_cast<uint64_t>(epoch), count);
    for (int64_t place = 0; place < count; ++place) {
      const int64_t index = shuffle_ ? order(place) : place;
      const File& file = files_[static_cast<size_t>(index)];
      if (row < file.rows) {
        load(index);
        if (!shuffle_) return row;
        const uint64_t stream = static_cast<uint64_t>(epoch * count + index);
        return Permutation(context().seed + 1, stream, file.rows)(row);
      }
      row -= file.rows;
    }
    fail(ErrorCode::kInternal, "position ", position, " lies in no file");
  }

  void load(int64_t index) {
    if (index == loaded_) return;
    loaded_ = -1;
    const File& listed = files_[static_cast<size_t>(index)];
    const Hdf5File file = Hdf5File::open(listed.path);
    values_.resize(row_shapes_.size());
    for (size_t i = 0; i < values_.size(); ++i) {
      const std::string& dataset = param().top(static_cast<int>(i));
      const Shape shape = file.read_floats(dataset, values_[i]);
      CAFFE_REQUIRE_CODE(shape.count() == listed.rows * row_shapes_[i].count(), ErrorCode::kData,
                         listed.path, ": dataset '", dataset, "' changed its shape to ",
                         shape.str(), " while it was in use");
    }
    loaded_ = index;
  }

  bool shuffle_ = false;
  std::vector<File> files_;
  std::vector<Shape> row_shapes_;  // of each top, with one row
  int64_t total_rows_ = 0;
  BatchSchedule schedule_;
  BatchRange batch_;
  int64_t next_batch_ = 0;
  int64_t rows_ = 0;
  int64_t loaded_ = -1;                     // index of the file in values_
  std::vector<std::vector<float>> values_;  // of each top
};

CAFFE_REGISTER_LAYER(HDF5Data, HDF5DataLayer);

}  // namespace
}  // namespace caffe
