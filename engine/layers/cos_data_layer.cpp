#include <algorithm>
#include <optional>
#include <utility>

#include "layers/row_batches.h"

namespace caffe {
namespace {

// Any number of tops, each a field of the rows that `source` (a file of rows) holds or that the net
// is fed with, in the order of cos_data_param { top }.
class CoSDataLayer : public PortableLayer<CoSDataLayer> {
 public:
  using PortableLayer::PortableLayer;
  using TopBlob = CoSDataParameter::TopBlob;

  Arity bottoms() const override { return Arity::exactly(0); }
  Arity tops() const override { return Arity::at_least(1); }
  bool has_backward() const override { return false; }

  void set_up(const Blobs&, const Blobs& top) override {
    const CoSDataParameter& data = param().cos_data_param();
    CAFFE_REQUIRE(data.batch_size() > 0, "cos_data_param { batch_size } is ", data.batch_size(),
                  ", expected at least 1");
    CAFFE_REQUIRE(static_cast<size_t>(data.top_size()) == top.size(), "found ", data.top_size(),
                  " entries top in cos_data_param for ", top.size(), " tops of the layer");
    std::vector<RowTopPlan> plans;
    for (int i = 0; i < data.top_size(); ++i) plans.push_back(plan(data.top(i), i));
    rows_.emplace(*this, std::move(plans), data.batch_size(), data.shuffle());
    if (context().data.fed) return;
    CAFFE_REQUIRE(!data.source().empty() && !param().has_source_class(),
                  "is fed by Spark; without Spark its cos_data_param { source } must be a file of "
                  "rows, and source_class left out");
    rows_->open(data.source());
  }

  void reshape(const Blobs&, const Blobs& top) override { rows_->reshape(top); }
  void prepare(const Blobs& top) override { rows_->prepare(top); }
  void cancel() override {
    if (rows_) rows_->cancel();
  }
  std::optional<std::vector<std::string>> record_keys() const override {
    return rows_->record_keys();
  }
  int64_t read_rows(const std::string& path) override {
    return context().data.fed ? rows_->open(path) : Layer::read_rows(path);
  }

  template <typename T>
  void forward(const Blobs&, const Blobs& top) {
    rows_->forward<T>(top);
  }

 private:
  static bool is_image(const TopBlob& top) {
    return top.type() == CoSDataParameter::ENCODED_IMAGE ||
           top.type() == CoSDataParameter::RAW_IMAGE ||
           top.type() == CoSDataParameter::ENCODED_IMAGE_WITH_DIM;
  }

  RowTopPlan plan(const TopBlob& top, int field) const {
    RowTopPlan plan;
    plan.row.name = top.name();
    plan.row.field = field;
    plan.row.image = is_image(top);
    plan.row.resize = plan.row.image && context().data.resize;
    CAFFE_REQUIRE(!plan.row.image || (top.channels() > 0 && top.height() > 0 && top.width() > 0),
                  "top '", top.name(), "' is an image and needs channels, height and width, found ",
                  top.channels(), ", ", top.height(), ", ", top.width());
    const auto extent = [](uint32_t given, uint32_t otherwise) {
      return static_cast<int>(std::max<uint32_t>(1, given > 0 ? given : otherwise));
    };
    plan.row.input = {extent(top.channels(), 1), extent(top.height(), 1), extent(top.width(), 1)};
    const uint32_t crop = top.transform_param().crop_size();
    plan.row.output = {extent(top.out_channels(), top.channels()),
                       extent(top.out_height(), crop > 0 ? crop : top.height()),
                       extent(top.out_width(), crop > 0 ? crop : top.width())};
    plan.transform = top.transform_param();
    const Extents& out = plan.row.output;
    const int64_t all[] = {out.channels, out.height, out.width};
    CAFFE_REQUIRE(top.sample_num_axes() <= 3, "top '", top.name(), "' has sample_num_axes ",
                  top.sample_num_axes(), ", expected at most 3");
    plan.sample = Shape(std::vector<int64_t>(all, all + top.sample_num_axes()));
    CAFFE_REQUIRE(plan.sample.count() == out.count(), "top '", top.name(), "' has samples of ", out,
                  " numbers, which do not fit into the first ", top.sample_num_axes(),
                  " axes (sample_num_axes)");
    plan.transpose = top.transpose();
    CAFFE_REQUIRE(!plan.transpose || plan.sample.axes() == 1, "top '", top.name(),
                  "' is to be transposed; its sample_num_axes must then be 1, found ",
                  plan.sample.axes());
    return plan;
  }

  std::optional<RowBatches> rows_;
};

CAFFE_REGISTER_LAYER(CoSData, CoSDataLayer);

}  // namespace
}  // namespace caffe
