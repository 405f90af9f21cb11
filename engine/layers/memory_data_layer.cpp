#include "layers/memory_data_layer.h"

#include <algorithm>
#include <utility>

#include "kernels/for_each.h"

namespace caffe {

void MemoryDataLayer::set_up(const Blobs&, const Blobs& top) {
  const auto& p = param().memory_data_param();
  batch_ = {p.batch_size(), p.channels(), p.height(), p.width()};
  CAFFE_REQUIRE(batch_.count() > 0,
                "batch_size, channels, height and width must be given in memory_data_param and be "
                "positive, found ",
                p.batch_size(), ", ", p.channels(), ", ", p.height(), ", ", p.width());
  if (reads_rows()) set_up_rows(top.size());
}

bool MemoryDataLayer::reads_rows() const {
  const bool own_source = param().memory_data_param().has_source() && !param().has_source_class();
  return context().data.fed || own_source;
}

void MemoryDataLayer::set_up_rows(size_t tops) {
  const auto& p = param().memory_data_param();
  const auto name = [this](int i) { return i < param().top_size() ? param().top(i) : "unnamed"; };
  RowTopPlan data;
  data.row = {.name = name(0), .field = 0, .image = true, .resize = context().data.resize};
  data.row.input = data.row.output = {static_cast<int>(p.channels()), static_cast<int>(p.height()),
                                      static_cast<int>(p.width())};
  data.transform = param().transform_param();
  data.sample = {p.channels(), p.height(), p.width()};
  std::vector<RowTopPlan> plans{data};
  if (tops > 1) {
    RowTopPlan labels;
    const auto size = static_cast<int>(std::max<uint32_t>(1, p.label_size()));
    labels.row = {.name = name(1), .field = 1};
    labels.row.input = labels.row.output = {size, 1, 1};
    labels.sample = size == 1 ? Shape() : Shape{size};
    plans.push_back(labels);
  }
  rows_.emplace(*this, std::move(plans), p.batch_size(), false);
  if (!context().data.fed) rows_->open(p.source());
}

void MemoryDataLayer::prepare(const Blobs& top) {
  if (rows_) rows_->prepare(top);
}

void MemoryDataLayer::cancel() {
  if (rows_) rows_->cancel();
}

std::optional<std::vector<std::string>> MemoryDataLayer::record_keys() const {
  if (!rows_) return std::nullopt;
  return rows_->record_keys();
}

int64_t MemoryDataLayer::read_rows(const std::string& path) {
  return rows_ && context().data.fed ? rows_->open(path) : Layer::read_rows(path);
}

void MemoryDataLayer::reshape(const Blobs&, const Blobs& top) {
  if (rows_) return rows_->reshape(top);
  top[0]->reshape(batch_);
  top[1]->reshape({batch_size(), 1, 1, 1});
}

void MemoryDataLayer::set_arrays(const float* data, const float* labels, int64_t n) {
  CAFFE_REQUIRE(!rows_, label(), " reads rows from a file, so it takes no arrays");
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
  if (rows_) return rows_->forward<T>(top);
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
