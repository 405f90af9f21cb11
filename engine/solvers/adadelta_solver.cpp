#include <cmath>

#include "solvers/update_rule.h"

namespace caffe {
namespace {

CAFFE_CLONES void adadelta(const UpdateStep& step, float momentum, float delta, float* weights,
                           const float* gradient, float* h, float* d, int64_t n) {
  const float rate = step.rate;
  for_each_gradient(step, weights, gradient, n, [=](int64_t i, float g) {
    h[i] = momentum * h[i] + (1 - momentum) * g * g;
    const float u = g * std::sqrt((d[i] + delta) / (h[i] + delta));
    d[i] = momentum * d[i] + (1 - momentum) * u * u;
    weights[i] -= rate * u;
  });
}

// Zeiler 2012, momentum taking the place of its decay: h = momentum * h + (1 - momentum) * g^2;
// u = g * sqrt((d + delta) / (h + delta));  d = momentum * d + (1 - momentum) * u^2;
// w -= rate * u. History: h, d.
class AdaDeltaRule : public UpdateRule {
 public:
  explicit AdaDeltaRule(const SolverParameter& param) : UpdateRule(param) {}

  int histories() const override { return 2; }

  void apply(const UpdateStep& step, float* weights, const float* gradient, float* const* history,
             int64_t n) const override {
    for_each_range(n, [&](int64_t at, int64_t size) {
      adadelta(step, param_.momentum(), param_.delta(), weights + at, gradient + at,
               history[0] + at, history[1] + at, size);
    });
  }
};

CAFFE_REGISTER_SOLVER(AdaDelta, AdaDeltaRule);

}  // namespace
}  // namespace caffe
