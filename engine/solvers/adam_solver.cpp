#include <cmath>

#include "solvers/update_rule.h"

namespace caffe {
namespace {

// Kingma and Ba 2015, without its bias correction of epsilon: m = momentum * m + (1 - momentum) *
// g; v = momentum2 * v + (1 - momentum2) * g^2; w -= rate * sqrt(1 - momentum2^t) / (1 -
// momentum^t) * m / (sqrt(v) + delta), t counting from 1. History: m, v.
class AdamRule : public UpdateRule {
 public:
  explicit AdamRule(const SolverParameter& param) : UpdateRule(param) {}

  int histories() const override { return 2; }

  void apply(const UpdateStep& step, float* weights, const float* gradient, float* const* history,
             int64_t n) const override {
    const float momentum = param_.momentum();
    const float momentum2 = param_.momentum2();
    const float delta = param_.delta();
    const double t = static_cast<double>(step.iteration + 1);
    const float correction =
        static_cast<float>(std::sqrt(1.0 - std::pow(momentum2, t)) / (1.0 - std::pow(momentum, t)));
    const float rate = step.rate * correction;
    float* m = history[0];
    float* v = history[1];
    for_each_gradient(step, weights, gradient, n, [=](int64_t i, float g) {
      m[i] = momentum * m[i] + (1 - momentum) * g;
      v[i] = momentum2 * v[i] + (1 - momentum2) * g * g;
      weights[i] -= rate * m[i] / (std::sqrt(v[i]) + delta);
    });
  }
};

CAFFE_REGISTER_SOLVER(Adam, AdamRule);

}  // namespace
}  // namespace caffe
