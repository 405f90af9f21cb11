#pragma once

#include <memory>
#include <string>

#include "core/error.h"
#include "core/registry.h"
#include "kernels/for_each.h"
#include "proto/caffe.pb.h"

namespace caffe {

// One parameter's update, over n elements of plain arrays that all lie in the same (perhaps
// blocked) layout.
struct UpdateStep {
  float rate = 0;         // learning rate * lr_mult
  float decay = 0;        // weight_decay * decay_mult
  bool l1 = false;        // regularisation by sign(w) instead of w
  float grad_scale = 1;   // the gradient is multiplied by this first (1/iter_size, clipping)
  int64_t iteration = 0;  // updates before this one
};

// What distinguishes the solver types (formulas: docs/reference/solvers.md). Stateless; history is
// the caller's.
class UpdateRule {
 public:
  explicit UpdateRule(const SolverParameter& param) : param_(param) {}  // checks its parameters
  virtual ~UpdateRule() = default;
  // Arrays of history per parameter.
  virtual int histories() const { return 1; }
  // weights -= update(gradient, history); history is advanced. One pass, all threads. history[k]
  // has n elements.
  virtual void apply(const UpdateStep& step, float* weights, const float* gradient,
                     float* const* history, int64_t n) const = 0;

 protected:
  void require_no_momentum() const {
    CAFFE_REQUIRE(param_.momentum() == 0, "momentum cannot be used with the solver type ",
                  param_.type(), "; take `momentum: ", param_.momentum(), "` out");
  }

  SolverParameter param_;
};

// work(i, g) with g the gradient of element i, scaled and regularised.
template <typename Work>
void for_each_gradient(const UpdateStep& step, const float* weights, const float* gradient,
                       int64_t n, const Work& work) {
  const float scale = step.grad_scale;
  const float decay = step.decay;
  if (step.l1) {
    for_each(n, [=](int64_t i) {
      const float sign = static_cast<float>((weights[i] > 0) - (weights[i] < 0));
      work(i, scale * gradient[i] + decay * sign);
    });
  } else {
    for_each(n, [=](int64_t i) { work(i, scale * gradient[i] + decay * weights[i]); });
  }
}

struct SolverKind {
  static constexpr const char* kKind = "solver";
};
using UpdateRuleFactory = std::unique_ptr<UpdateRule> (*)(const SolverParameter&);
using SolverRegistry = Registry<SolverKind, UpdateRuleFactory>;

template <typename R>
std::unique_ptr<UpdateRule> make_update_rule(const SolverParameter& param) {
  return std::make_unique<R>(param);
}

}  // namespace caffe

#define CAFFE_REGISTER_SOLVER(type, class_name)                 \
  [[maybe_unused]] static const bool registered_##type##_rule = \
      ::caffe::SolverRegistry::add(#type, &::caffe::make_update_rule<class_name>)
