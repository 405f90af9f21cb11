#include "solvers/update_rule.h"

namespace caffe {
namespace {

CAFFE_CLONES void nesterov(const UpdateStep& step, float momentum, float* weights,
                           const float* gradient, float* h, int64_t n) {
  const float rate = step.rate;
  for_each_gradient(step, weights, gradient, n, [=](int64_t i, float g) {
    const float before = h[i];
    h[i] = momentum * before + rate * g;
    weights[i] -= (1 + momentum) * h[i] - momentum * before;
  });
}

// Accelerated gradient (Nesterov 1983): with h' = momentum * h + rate * g,
// w -= (1 + momentum) * h' - momentum * h.
class NesterovRule : public UpdateRule {
 public:
  explicit NesterovRule(const SolverParameter& param) : UpdateRule(param) {}

  bool gathers_gradients() const override { return false; }

  void apply(const UpdateStep& step, float* weights, const float* gradient, float* const* history,
             int64_t n) const override {
    for_each_range(n, [&](int64_t at, int64_t size) {
      nesterov(step, param_.momentum(), weights + at, gradient + at, history[0] + at, size);
    });
  }
};

CAFFE_REGISTER_SOLVER(Nesterov, NesterovRule);

}  // namespace
}  // namespace caffe
