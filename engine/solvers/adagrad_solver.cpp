#include <cmath>

#include "solvers/update_rule.h"

namespace caffe {
namespace {

// Duchi et al. 2011: h += g^2;  w -= rate * g / (sqrt(h) + delta).
class AdaGradRule : public UpdateRule {
 public:
  explicit AdaGradRule(const SolverParameter& param) : UpdateRule(param) { require_no_momentum(); }

  void apply(const UpdateStep& step, float* weights, const float* gradient, float* const* history,
             int64_t n) const override {
    const float delta = param_.delta();
    const float rate = step.rate;
    float* h = history[0];
    for_each_gradient(step, weights, gradient, n, [=](int64_t i, float g) {
      h[i] += g * g;
      weights[i] -= rate * g / (std::sqrt(h[i]) + delta);
    });
  }
};

CAFFE_REGISTER_SOLVER(AdaGrad, AdaGradRule);

}  // namespace
}  // namespace caffe
