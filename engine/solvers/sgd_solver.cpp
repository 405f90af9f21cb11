#include "solvers/update_rule.h"

namespace caffe {
namespace {

// h = momentum * h + rate * g;  w -= h, with g regularised.
class SgdRule : public UpdateRule {
 public:
  explicit SgdRule(const SolverParameter& param) : UpdateRule(param) {}

  void apply(const UpdateStep& step, float* weights, const float* gradient, float* const* history,
             int64_t n) const override {
    const float momentum = param_.momentum();
    const float rate = step.rate;
    float* h = history[0];
    for_each_gradient(step, weights, gradient, n, [=](int64_t i, float g) {
      h[i] = momentum * h[i] + rate * g;
      weights[i] -= h[i];
    });
  }
};

CAFFE_REGISTER_SOLVER(SGD, SgdRule);

}  // namespace
}  // namespace caffe
