#include <cstring>
#include <utility>
#include <vector>

#include "backends/cpu/onednn/array.h"
#include "backends/cpu/onednn/primitive.h"
#include "kernels/for_each.h"
#include "kernels/linear.h"

namespace caffe::onednn {
namespace {

// The tops share the bottom's data; going back, their gradients are added, in the layout of the
// data, in one pass.
class Split : public DnnlImplementation {
 public:
  explicit Split(const Operation& operation)
      : format_(elementwise_format(operation.bottom)),
        count_(elements(format_)),
        bottom_diff_(operation.bottom[0]->diff(), format_) {
    require_no_fusion(operation);
    details_ = "shared " + format_name(format_);
    if (!propagates_down(operation, 0)) return;
    for (size_t i = 0; i < operation.top.size(); ++i) {
      top_diffs_.push_back({Array(operation.top[i]->diff(), format_), operation.top_observed(i)});
    }
    terms_.reserve(top_diffs_.size());
    dy_.resize(top_diffs_.size());
  }

  void forward() override {}

  void backward() override {
    if (top_diffs_.empty()) return;
    terms_.clear();
    for (const Top& top : top_diffs_) {
      if (!top.diff.buffer().is_zero()) terms_.push_back(&top);  // zero: a reader without gradient
    }
    if (terms_.empty()) return bottom_diff_.buffer().set_zero();
    const Top* heir = move_heir_to_front() ? terms_[0] : nullptr;
    if (terms_.size() > 1 || heir == nullptr) {
      with_number(format_, [&](auto number) {
        add<decltype(number)>(heir ? heir->diff : bottom_diff_, heir != nullptr);
      });
    }
    if (heir != nullptr) bottom_diff_.take(heir->diff);
  }

  BufferUses forward_uses() const override { return {}; }
  BufferUses backward_uses() const override {
    BufferUses uses;
    for (const Top& top : top_diffs_) uses.push_back(top.diff.use(Access::kUpdate));
    for (const Top& top : top_diffs_) uses.push_back(bottom_diff_.write_instead_of(top.diff));
    return uses;
  }

 private:
  struct Top {
    Array diff;
    bool observed;
  };

  // Whether there is a top whose memory becomes the sum's: by the plan, or because nobody looks at
  // it.
  bool move_heir_to_front() {
    for (const bool planned : {true, false}) {
      for (const Top*& top : terms_) {
        const bool fits =
            planned ? bottom_diff_.lies_with(top->diff) : !top->observed && !top->diff.lent();
        if (!fits) continue;
        std::swap(top, terms_[0]);
        return true;
      }
    }
    return false;
  }

  template <typename T>
  void add(const Array& sum, bool in_place) {
    const size_t n = terms_.size();
    for (size_t k = 0; k < n; ++k) dy_[k] = terms_[k]->diff.read<void>();
    T* const to = in_place ? sum.update<T>() : sum.write<T>();
    for_each_piece(count_, [&](int64_t begin, int64_t end) {
      const T* a = static_cast<const T*>(dy_[0]);
      T* dx = to;
      if (n == 1) {
        std::memcpy(dx + begin, a + begin, static_cast<size_t>(end - begin) * sizeof(T));
        return;
      }
      const T* b = static_cast<const T*>(dy_[1]);
      combine(end - begin, 1, a + begin, 1, b + begin, dx + begin);
      for (size_t k = 2; k < n; ++k) {
        accumulate(end - begin, 1, static_cast<const T*>(dy_[k]) + begin, dx + begin);
      }
    });
  }

  Desc format_;
  int64_t count_;
  Array bottom_diff_;
  std::vector<Top> top_diffs_;
  std::vector<const Top*> terms_;
  std::vector<const void*> dy_;
};

CAFFE_REGISTER_IMPLEMENTATION(Split, onednn, make<Split>);

}  // namespace
}  // namespace caffe::onednn
