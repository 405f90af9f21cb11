#include "layers/memory_data_layer.h"

#include "kernels/for_each.h"

namespace caffe {

void MemoryDataLayer::set_up(const Blobs&, const Blobs&) {
  const auto& p = param().memory_data_param();
  batch_ = {p.batch_size(), p.channels(), p.height(), p.width()};
  CAFFE_REQUIRE(batch_.count() > 0,
                "batch_size, channels, height and width must be given in memory_data_param and be "
                "positive, found ",
                p.batch_size(), ", ", p.channels(), ", ", p.height(), ", ", p.width());
}

void MemoryDataLayer::reshape(const Blobs&, const Blobs& top) {
  top[0]->reshape(batch_);
  top[1]->reshape({batch_size(), 1, 1, 1});
}

void MemoryDataLayer::set_arrays(const float* data, const float* labels, int64_t n) {
  CAFFE_REQUIRE(data != nullptr && labels != nullptr, label(),
                " data and labels must both be given");
  CAFFE_REQUIRE(n > 0 && n % batch_size() == 0, label(), " found ", n,
                " records, expected a positive multiple of batch_size (", batch_size(), ")");
  data_ = data;
  labels_ = labels;
  records_ = n;
  next_ = 0;
}

template <typename T>
void MemoryDataLayer::forward(const Blobs&, const Blobs& top) {
  CAFFE_REQUIRE(data_ != nullptr, label(),
                " has no data yet; set its arrays before the first forward pass");
  const int64_t batch = batch_size();
  const int64_t size = batch_.count(1);
  const float* data = data_ + next_ * size;
  T* top_data = top[0]->overwrite_data<T>();
  for_each(batch * size, [=](int64_t i) { top_data[i] = data[i]; });
  const float* labels = labels_ + next_;
  T* top_labels = top[1]->overwrite_data<T>();
  for_each(batch, [=](int64_t i) { top_labels[i] = labels[i]; });
  next_ = (next_ + batch) % records_;
}

CAFFE_REGISTER_LAYER(MemoryData, MemoryDataLayer);

}  // namespace caffe
