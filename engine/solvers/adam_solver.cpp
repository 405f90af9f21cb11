#include <cmath>

#include "solvers/update_rule.h"

namespace caffe {
namespace {

struct AdamStep {
  float momentum, momentum2, delta;
  float rate;  // bias correction included
};

CAFFE_CLONES void adam(const UpdateStep& step, const AdamStep& adam, float* weights,
                       const float* gradient, float* m, float* v, int64_t n) {
  const auto [momentum, momentum2, delta, rate] = adam;
  for_each_gradient(step, weights, gradient, n, [=](int64_t i, float g) {
    m[i] = momentum * m[i] + (1 - momentum) * g;
    v[i] = momentum2 * v[i] + (1 - momentum2) * g * g;
    weights[i] -= rate * m[i] / (std::sqrt(v[i]) + delta);
  });
}

// Kingma and Ba 2015, without its bias correction of epsilon: m = momentum * m + (1 - momentum) *
// g; v = momentum2 * v + (1 - momentum2) * g^2; w -= rate * sqrt(1 - momentum2^t) / (1 -
// momentum^t) * m / (sqrt(v) + delta), t counting from 1. History: m, v.
class AdamRule : public UpdateRule {
 public:
  explicit AdamRule(const SolverParameter& param) : UpdateRule(param) {}

  int histories() const override { return 2; }

  void apply(const UpdateStep& step, float* weights, const float* gradient, float* const* history,
             int64_t n) const override {
    const double t = static_cast<double>(step.iteration + 1);
    const auto correction = static_cast<float>(std::sqrt(1.0 - std::pow(param_.momentum2(), t)) /
                                               (1.0 - std::pow(param_.momentum(), t)));
    const AdamStep numbers{param_.momentum(), param_.momentum2(), param_.delta(),
                           step.rate * correction};
    for_each_range(n, [&](int64_t at, int64_t size) {
      adam(step, numbers, weights + at, gradient + at, history[0] + at, history[1] + at, size);
    });
  }
};

CAFFE_REGISTER_SOLVER(Adam, AdamRule);

}  // namespace
}  // namespace caffe
