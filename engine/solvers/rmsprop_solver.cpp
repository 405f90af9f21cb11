#include <cmath>

#include "solvers/update_rule.h"

namespace caffe {
namespace {

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
    const float decay = param_.rms_decay();
    const float delta = param_.delta();
    const float rate = step.rate;
    float* h = history[0];
    for_each_gradient(step, weights, gradient, n, [=](int64_t i, float g) {
      h[i] = decay * h[i] + (1 - decay) * g * g;
      weights[i] -= rate * g / (std::sqrt(h[i]) + delta);
    });
  }
};

CAFFE_REGISTER_SOLVER(RMSProp, RmsPropRule);

}  // namespace
}  // namespace caffe
