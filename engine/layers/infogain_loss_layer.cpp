#include <algorithm>
#include <cmath>

#include "io/files.h"
#include "kernels/softmax.h"
#include "layers/loss_layer.h"

namespace caffe {
namespace {

constexpr double kLeast = 1e-20;  // probabilities below it count as this

// A softmax over `axis`, and the sum over classes of -H[label, class] log(probability), divided by
// the normaliser. H, classes x classes, is the third bottom or the BlobProto file `source`; with
// the identity this is SoftmaxWithLoss. A second top is the probabilities.
class InfogainLossLayer : public LossLayer<InfogainLossLayer> {
 public:
  InfogainLossLayer(const LayerParameter& param, const RunContext& context)
      : LossLayer(param, context), probability_(context.dtype), scratch_(context.dtype) {}

  Arity bottoms() const override { return Arity::between(2, 3); }
  Arity tops() const override { return Arity::between(1, 2); }
  bool allow_force_backward(int index) const override { return index == 0; }

  void set_up(const Blobs& bottom, const Blobs&) override {
    if (bottom.size() == 3) return;
    const std::string& source = param().infogain_loss_param().source();
    CAFFE_REQUIRE(!source.empty(),
                  "needs the matrix H: give it as third bottom, or as infogain_loss_param source, "
                  "the file of a BlobProto");
    BlobProto proto;
    read_message(source, "infogain matrix", &proto);
    file_.assign(proto.data().begin(), proto.data().end());
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    const int axis = in.canonical_axis(param().infogain_loss_param().axis());
    middle_ = {in.count(0, axis), in[axis], in.count(axis + 1)};
    require_labels(bottom, middle_.outer * middle_.inner, middle_.middle);
    const int64_t found =
        bottom.size() == 3 ? bottom[2]->count() : static_cast<int64_t>(file_.size());
    CAFFE_REQUIRE(found == middle_.middle * middle_.middle, "found a matrix H of ", found,
                  " numbers for ", middle_.middle, " classes; it must have one row and one column ",
                  "for each class");
    top[0]->reshape(Shape());
    if (top.size() > 1) top[1]->reshape(in);
    probability_.reshape(in);
    scratch_.reshape({middle_.outer, middle_.inner});
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* label = bottom[1]->data_as<T>();
    const Labels rule = labels(middle_.middle);
    valid_ = rule.check(*this, label, bottom[1]->count(), middle_.inner);
    T* p = probability_.overwrite_data<T>();
    softmax(middle_, bottom[0]->data_as<T>(), p, scratch_.overwrite_data<T>());
    const std::vector<T> h = matrix<T>(bottom);
    const Middle m = middle_;
    const double total = parallel_sum<T>(bottom[1]->count(), [&](int64_t i) {
      if (rule.ignored(label[i])) return T{0};
      const T* row = h.data() + static_cast<int64_t>(label[i]) * m.middle;
      T loss = 0;
      for (int64_t c = 0; c < m.middle; ++c) {
        const T probability = p[(i / m.inner * m.middle + c) * m.inner + i % m.inner];
        loss -= row[c] * std::log(std::max(probability, static_cast<T>(kLeast)));
      }
      return loss;
    });
    top[0]->overwrite_data<T>()[0] = static_cast<T>(total / divisor());
    if (top.size() > 1) std::copy_n(p, probability_.count(), top[1]->overwrite_data<T>());
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    require_no_label_gradient(propagate_down);
    CAFFE_REQUIRE(propagate_down.size() < 3 || !propagate_down[2], label(),
                  " has no gradient for the matrix H (bottom 2)");
    if (!propagate_down[0]) return;
    const T weight = static_cast<T>(top[0]->diff_as<T>()[0] / divisor());
    const T* p = probability_.data_as<T>();
    const T* label = bottom[1]->data_as<T>();
    const std::vector<T> h = matrix<T>(bottom);
    const Labels rule = labels(middle_.middle);
    const Middle m = middle_;
    T* dx = bottom[0]->overwrite_diff<T>();
    for_each_heavy(bottom[1]->count(), [&](int64_t i) {
      const bool ignored = rule.ignored(label[i]);
      const T* row = h.data() + (ignored ? 0 : static_cast<int64_t>(label[i]) * m.middle);
      T row_sum = 0;
      for (int64_t c = 0; c < m.middle; ++c) row_sum += row[c];
      for (int64_t c = 0; c < m.middle; ++c) {
        const int64_t at = (i / m.inner * m.middle + c) * m.inner + i % m.inner;
        dx[at] = ignored ? T{0} : weight * (row_sum * p[at] - row[c]);
      }
    });
  }

 private:
  double divisor() const {
    return normaliser(LossParameter::VALID, middle_.outer, middle_.inner, valid_);
  }
  template <typename T>
  std::vector<T> matrix(const Blobs& bottom) const {
    if (bottom.size() < 3) return std::vector<T>(file_.begin(), file_.end());
    const T* h = bottom[2]->data_as<T>();
    return std::vector<T>(h, h + bottom[2]->count());
  }

  std::vector<float> file_;  // H, where it is no bottom
  Middle middle_;
  int64_t valid_ = 0;  // labels of this batch that are not ignored
  Blob probability_;
  Blob scratch_;
};

CAFFE_REGISTER_LAYER(InfogainLoss, InfogainLossLayer);

}  // namespace
}  // namespace caffe
