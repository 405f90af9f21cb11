#include "solvers/update_rule.h"

namespace caffe {
namespace {

CAFFE_CLONES void sgd(const UpdateStep& step, float momentum, float* weights, const float* gradient,
                      float* h, int64_t n) {
  const float rate = step.rate;
  for_each_gradient(step, weights, gradient, n, [=](int64_t i, float g) {
    h[i] = momentum * h[i] + rate * g;
    weights[i] -= h[i];
  });
}

// h = momentum * h + rate * g;  w -= h, with g regularised.
class SgdRule : public UpdateRule {
 public:
  explicit SgdRule(const SolverParameter& param) : UpdateRule(param) {}

  bool gathers_gradients() const override { return false; }

  void apply(const UpdateStep& step, float* weights, const float* gradient, float* const* history,
             int64_t n) const override {
    for_each_range(n, [&](int64_t at, int64_t size) {
      sgd(step, param_.momentum(), weights + at, gradient + at, history[0] + at, size);
    });
  }
};

CAFFE_REGISTER_SOLVER(SGD, SgdRule);

}  // namespace
}  // namespace caffe
