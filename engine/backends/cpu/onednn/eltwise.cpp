#include <vector>

#include "backends/cpu/onednn/array.h"
#include "backends/cpu/onednn/primitive.h"
#include "kernels/for_each.h"
#include "kernels/linear.h"

namespace caffe::onednn {
namespace {

// A sum, perhaps with ReLU, in the layout of its bottoms. One pass forward and one back.
class EltwiseSum : public DnnlImplementation {
 public:
  explicit EltwiseSum(const Operation& operation)
      : relu_(fuses_relu(operation)),
        format_(format(operation)),
        count_(elements(format_)),
        top_(operation.top[0]->data(), format_),
        top_diff_(operation.top[0]->diff(), format_) {
    details_ = std::string(relu_ ? "sum+ReLU " : "sum ") + format_name(format_);
    for (size_t i = 0; i < operation.bottom.size(); ++i) {
      bottom_.push_back({Array(operation.bottom[i]->data(), format_), coefficient(operation, i)});
      in_place_ |= &operation.bottom[i]->data() == &operation.top[0]->data();
    }
    x_.resize(bottom_.size());
    if (operation.backward) plan_backward(operation);
  }

  void forward() override {
    for (size_t k = 0; k < bottom_.size(); ++k) x_[k] = bottom_[k].array.read<void>();
    with_number(format_, [&](auto number) {
      using T = decltype(number);
      add(in_place_ ? top_.update<T>() : top_.write<T>());
    });
  }

  void backward() override {
    with_number(format_, [&](auto number) { hand_down<decltype(number)>(); });
    if (heir_) heir_->take(top_diff_);
  }

  BufferUses forward_uses() const override {
    BufferUses uses;
    for (const Term& term : bottom_) uses.push_back(term.array.use(Access::kRead));
    uses.push_back(top_.use(in_place_ ? Access::kUpdate : Access::kWrite));
    return uses;
  }
  BufferUses backward_uses() const override {
    BufferUses uses;
    if (relu_) uses.push_back(top_.use(Access::kRead));
    uses.push_back(top_diff_.use(change_diff_ ? Access::kUpdate : Access::kRead));
    for (const Term& target : targets_) uses.push_back(target.array.use(Access::kWrite));
    if (heir_) uses.push_back(heir_->write_instead_of(top_diff_));
    return uses;
  }

 private:
  struct Term {
    Array array;
    float coefficient;
  };

  template <typename T>
  void add(T* top) const {
    for_each_piece(count_, [&](int64_t begin, int64_t end) {
      const int64_t n = end - begin;
      const auto x = [&](size_t k) { return static_cast<const T*>(x_[k]) + begin; };
      const auto of_two = relu_ && x_.size() == 2 ? combine_and_rectify<T> : combine<T>;
      of_two(n, bottom_[0].coefficient, x(0), bottom_[1].coefficient, x(1), top + begin);
      for (size_t k = 2; k < x_.size(); ++k) {
        accumulate(n, bottom_[k].coefficient, x(k), top + begin);
      }
      if (relu_ && x_.size() > 2) rectify(n, top + begin);
    });
  }

  template <typename T>
  void hand_down() {
    const T* const y = relu_ ? top_.read<T>() : nullptr;
    T* const dy = change_diff_ ? top_diff_.update<T>() : const_cast<T*>(top_diff_.read<T>());
    for (size_t k = 0; k < targets_.size(); ++k) dx_[k] = targets_[k].array.write<void>();
    for_each_piece(count_, [&](int64_t begin, int64_t end) {
      for (size_t k = 0; k < dx_.size(); ++k) {
        pass(dy, y, targets_[k].coefficient, static_cast<T*>(dx_[k]), begin, end);
      }
      if (change_diff_) pass(dy, y, own_coefficient_, dy, begin, end);
    });
  }

  static Desc format(const Operation& operation) {
    const EltwiseParameter& param = operation.param().eltwise_param();
    if (param.operation() != EltwiseParameter::SUM) throw Refusal{"only SUM"};
    for (size_t i = 2; i < operation.bottom.size(); ++i) {
      if (&operation.bottom[i]->data() == &operation.top[0]->data())
        throw Refusal{"only the first two bottoms may be the top too"};
    }
    return elementwise_format(operation.bottom);
  }

  static float coefficient(const Operation& operation, size_t bottom) {
    const auto& coeff = operation.param().eltwise_param().coeff();
    return coeff.empty() ? 1.f : coeff[static_cast<int>(bottom)];
  }

  // to = coefficient * dy where y is above 0, or there is no y; else 0. `to` may be dy.
  template <typename T>
  static void pass(const T* dy, const T* y, float coefficient, T* to, int64_t begin, int64_t end) {
    if (y == nullptr) {
      scale(end - begin, coefficient, dy + begin, to + begin);
    } else {
      scale_where_positive(end - begin, coefficient, dy + begin, y + begin, to + begin);
    }
  }

  // Where nobody looks at the top's gradient, its memory becomes the gradient of the first bottom
  // that equals it.
  void plan_backward(const Operation& operation) {
    change_diff_ = relu_ && operation.top_observed(0);
    for (size_t i = 0; i < operation.bottom.size(); ++i) {
      if (!propagates_down(operation, i)) continue;
      const Array diff(operation.bottom[i]->diff(), format_);
      const float factor = bottom_[i].coefficient;
      if (&diff.buffer() == &top_diff_.buffer()) {
        own_coefficient_ = factor;
        change_diff_ |= relu_ || factor != 1;
      } else if (!heir_ && !in_place_ && factor == 1 && !operation.top_observed(0)) {
        heir_ = diff;
        change_diff_ |= relu_;
      } else {
        targets_.push_back({diff, factor});
      }
    }
    dx_.resize(targets_.size());
  }

  bool relu_;
  Desc format_;
  int64_t count_;
  Array top_, top_diff_;
  std::vector<Term> bottom_;
  std::vector<const void*> x_;
  bool in_place_ = false;

  std::vector<Term> targets_;  // gradients that are written
  std::vector<void*> dx_;
  std::optional<Array> heir_;  // the gradient that gets the top's memory
  bool change_diff_ = false;   // whether the top's gradient is changed, too
  float own_coefficient_ = 1;
};

CAFFE_REGISTER_IMPLEMENTATION(Eltwise, onednn, make<EltwiseSum>, "ReLU");

}  // namespace
}  // namespace caffe::onednn
