#include <vector>

#include "layers/labels.h"

namespace caffe {
namespace {

// Share of predictions whose true class is among the top_k best scores; classes with an equal score
// count as better. A second top is the same per class (0 for classes without a label).
class AccuracyLayer : public PortableLayer<AccuracyLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::exactly(2); }
  Arity tops() const override { return Arity::between(1, 2); }
  bool has_backward() const override { return false; }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& in = bottom[0]->shape();
    const auto& p = param().accuracy_param();
    const int axis = in.canonical_axis(p.axis());
    outer_ = in.count(0, axis);
    classes_ = in[axis];
    inner_ = in.count(axis + 1);
    CAFFE_REQUIRE(p.top_k() >= 1 && static_cast<int64_t>(p.top_k()) <= classes_, "found top_k ",
                  p.top_k(), " in accuracy_param, expected 1 to ", classes_,
                  ", the number of classes");
    CAFFE_REQUIRE(bottom[1]->count() == outer_ * inner_, "found ", bottom[1]->count(),
                  " labels (shape ", bottom[1]->shape().str(), ") for ", outer_ * inner_,
                  " predictions (shape ", in.str(), ", classes on axis ", axis,
                  "); give one label for each prediction");
    top[0]->reshape(Shape());
    if (top.size() > 1) top[1]->reshape({classes_});
    hits_.resize(static_cast<size_t>(classes_));
    totals_.resize(static_cast<size_t>(classes_));
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const auto& p = param().accuracy_param();
    const Labels labels(classes_,
                        p.has_ignore_label() ? std::optional<int>(p.ignore_label()) : std::nullopt);
    const T* score = bottom[0]->data_as<T>();
    const T* label = bottom[1]->data_as<T>();
    const int64_t valid = labels.check(*this, label, bottom[1]->count(), inner_);
    std::fill(hits_.begin(), hits_.end(), 0);
    std::fill(totals_.begin(), totals_.end(), 0);
    int64_t correct = 0;
    for (int64_t i = 0; i < outer_ * inner_; ++i) {
      if (labels.ignored(label[i])) continue;
      const auto truth = static_cast<int64_t>(label[i]);
      const bool hit = is_hit(score + i / inner_ * classes_ * inner_ + i % inner_, truth);
      correct += hit;
      hits_[static_cast<size_t>(truth)] += hit;
      ++totals_[static_cast<size_t>(truth)];
    }
    top[0]->overwrite_data<T>()[0] =
        valid == 0 ? T{0} : static_cast<T>(correct) / static_cast<T>(valid);
    if (top.size() < 2) return;
    T* per_class = top[1]->overwrite_data<T>();
    for (size_t c = 0; c < hits_.size(); ++c) {
      per_class[c] = totals_[c] == 0 ? T{0} : static_cast<T>(hits_[c]) / static_cast<T>(totals_[c]);
    }
  }

 private:
  // `scores` of one prediction lie inner_ apart. A score that is not a number is no hit.
  template <typename T>
  bool is_hit(const T* scores, int64_t truth) const {
    const T own = scores[truth * inner_];
    const int64_t allowed = param().accuracy_param().top_k();
    int64_t better = 0;
    for (int64_t c = 0; c < classes_ && better < allowed; ++c) {
      better += c != truth && !(scores[c * inner_] < own);
    }
    return better < allowed && own == own;
  }

  int64_t outer_ = 0;
  int64_t classes_ = 0;
  int64_t inner_ = 0;
  std::vector<int64_t> hits_;
  std::vector<int64_t> totals_;
};

CAFFE_REGISTER_LAYER(Accuracy, AccuracyLayer);

}  // namespace
}  // namespace caffe
