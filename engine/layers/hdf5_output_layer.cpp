#include <optional>

#include "data/hdf5.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Writes its two bottoms, batch after batch, into the datasets "data" and "label" of an HDF5 file,
// which it replaces. As in Caffe one pass fills the file; a second one is an error.
class HDF5OutputLayer : public PortableLayer<HDF5OutputLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(2); }
  Arity tops() const override { return Arity::exactly(0); }
  bool repeatable() const override { return false; }

  void set_up(const Blobs&, const Blobs&) override {
    const std::string& path = param().hdf5_output_param().file_name();
    CAFFE_REQUIRE(!path.empty(), "hdf5_output_param { file_name } is missing");
    file_.emplace(Hdf5File::create(path));
  }

  void reshape(const Blobs& bottom, const Blobs&) override {
    const Shape& data = bottom[0]->shape();
    const Shape& labels = bottom[1]->shape();
    CAFFE_REQUIRE(data.axes() > 0 && labels.axes() > 0 && data[0] == labels[0], "found bottoms ",
                  data.str(), " and ", labels.str(), "; both must have the same number of rows");
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs&) {
    CAFFE_REQUIRE(!written_, "the file ", param().hdf5_output_param().file_name(),
                  " has been written by the pass before; run one pass per net, with the whole data "
                  "as one batch");
    written_ = true;
    const char* const names[] = {"data", "label"};
    for (size_t i = 0; i < 2; ++i) {
      const T* values = bottom[i]->data_as<T>();
      const std::vector<float> floats(values, values + bottom[i]->count());
      file_->write_floats(names[i], bottom[i]->shape(), floats.data());
    }
    file_->close();
  }

 private:
  std::optional<Hdf5File> file_;
  bool written_ = false;
};

CAFFE_REGISTER_LAYER(HDF5Output, HDF5OutputLayer);

}  // namespace
}  // namespace caffe
