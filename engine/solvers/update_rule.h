#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "core/clones.h"
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
  // Whether the history gathers gradients as they are. Then it goes on for parameters that are not
  // learned, too, with what regularisation gives; else the rate, 0, keeps the gradients out.
  virtual bool gathers_gradients() const { return true; }
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

// Where the loops of the update rules run: work(begin, size) for ranges of [0, n), on all compute
// threads where n is worth it.
template <typename Work>
void for_each_range(int64_t n, const Work& work) {
  const int64_t ranges = (n + kParallelGrain - 1) / kParallelGrain;
  for_each_heavy(ranges, [&](int64_t range) {
    const int64_t begin = range * kParallelGrain;
    work(begin, std::min(n - begin, kParallelGrain));
  });
}

// work(i, g) with g the gradient of element i, scaled and regularised: the loop of a rule, to be
// used within a function with CAFFE_CLONES. Arrays that work(i) touches are touched at i only.
template <typename Work>
[[gnu::always_inline]] inline void for_each_gradient(const UpdateStep& step, const float* weights,
                                                     const float* gradient, int64_t n,
                                                     const Work& work) {
  const float scale = step.grad_scale;
  const float decay = step.decay;
  if (step.l1) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      const float sign = static_cast<float>((weights[i] > 0) - (weights[i] < 0));
      work(i, scale * gradient[i] + decay * sign);
    }
  } else {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) work(i, scale * gradient[i] + decay * weights[i]);
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
