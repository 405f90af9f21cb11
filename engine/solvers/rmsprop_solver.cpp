#include <cmath>

#include "solvers/update_rule.h"

namespace caffe {
namespace {

CAFFE_CLONES void rmsprop(const UpdateStep& step, float decay, float delta, float* weights,
                          const float* gradient, float* h, int64_t n) {
  const float rate = step.rate;
  for_each_gradient(step, weights, gradient, n, [=](int64_t i, float g) {
    h[i] = decay * h[i] + (1 - decay) * g * g;
    weights[i] -= rate * g / (std::sqrt(h[i]) + delta);
  });
}

// Tieleman and Hinton 2012: h = rms_decay * h + (1 - rms_decay) * g^2;
// w -= rate * g / (sqrt(h) + delta).
class RmsPropRule : public UpdateRule {
 public:
  explicit RmsPropRule(const SolverParameter& param) : UpdateRule(param) {
    require_no_momentum();
    CAFFE_REQUIRE(param.rms_decay() >= 0 && param.rms_decay() < 1,
                  "rms_decay should lie between 0 and 1, 1 excluded; it is ", param.rms_decay());
  }

  void apply(const UpdateStep& step, float* weights, const float* gradient, float* const* history,
             int64_t n) const override {
    for_each_range(n, [&](int64_t at, int64_t size) {
      rmsprop(step, param_.rms_decay(), param_.delta(), weights + at, gradient + at,
              history[0] + at, size);
    });
  }
};

CAFFE_REGISTER_SOLVER(RMSProp, RmsPropRule);

}  // namespace
}  // namespace caffe
