#include <cmath>

#include "solvers/update_rule.h"

namespace caffe {
namespace {

CAFFE_CLONES void adagrad(const UpdateStep& step, float delta, float* weights,
                          const float* gradient, float* h, int64_t n) {
  const float rate = step.rate;
  for_each_gradient(step, weights, gradient, n, [=](int64_t i, float g) {
    h[i] += g * g;
    weights[i] -= rate * g / (std::sqrt(h[i]) + delta);
  });
}

// Duchi et al. 2011: h += g^2;  w -= rate * g / (sqrt(h) + delta).
class AdaGradRule : public UpdateRule {
 public:
  explicit AdaGradRule(const SolverParameter& param) : UpdateRule(param) { require_no_momentum(); }

  void apply(const UpdateStep& step, float* weights, const float* gradient, float* const* history,
             int64_t n) const override {
    for_each_range(n, [&](int64_t at, int64_t size) {
      adagrad(step, param_.delta(), weights + at, gradient + at, history[0] + at, size);
    });
  }
};

CAFFE_REGISTER_SOLVER(AdaGrad, AdaGradRule);

}  // namespace
}  // namespace caffe
