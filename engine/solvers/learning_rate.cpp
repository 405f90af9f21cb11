#include "solvers/learning_rate.h"

#include <cmath>
#include <map>
#include <string>

#include "core/log.h"

namespace caffe {
namespace {

using Policy = double (*)(const SolverParameter&, double iteration, int32_t* current_step);

double step(const SolverParameter& p, double it, int32_t* current) {
  *current = static_cast<int32_t>(static_cast<int64_t>(it) / p.stepsize());
  return std::pow(static_cast<double>(p.gamma()), *current);
}

double multistep(const SolverParameter& p, double it, int32_t* current) {
  if (*current < p.stepvalue_size() && it >= p.stepvalue(*current)) {
    ++*current;
    CAFFE_LOG_INFO("MultiStep Status: Iteration ", static_cast<int64_t>(it), ", step = ", *current);
  }
  return std::pow(static_cast<double>(p.gamma()), *current);
}

struct Entry {
  Policy factor;                   // of base_lr
  bool gamma, stepsize, max_iter;  // what it needs
};

const std::map<std::string, Entry>& policies() {
  static const std::map<std::string, Entry> all = {
      {"fixed",
       {[](const SolverParameter&, double, int32_t*) { return 1.0; }, false, false, false}},
      {"step", {step, true, true, false}},
      {"exp",
       {[](const SolverParameter& p, double it, int32_t*) {
          return std::pow(static_cast<double>(p.gamma()), it);
        },
        true, false, false}},
      {"inv",
       {[](const SolverParameter& p, double it, int32_t*) {
          return std::pow(1.0 + p.gamma() * it, -p.power());
        },
        true, false, false}},
      {"multistep", {multistep, true, false, false}},
      {"poly",
       {[](const SolverParameter& p, double it, int32_t*) {
          return std::pow(1.0 - it / p.max_iter(), p.power());
        },
        false, false, true}},
      {"sigmoid",
       {[](const SolverParameter& p, double it, int32_t*) {
          return 1.0 / (1.0 + std::exp(-p.gamma() * (it - p.stepsize())));
        },
        true, true, false}},
  };
  return all;
}

}  // namespace

void check_learning_rate(const SolverParameter& p) {
  std::string known;
  for (const auto& entry : policies()) known += (known.empty() ? "" : ", ") + entry.first;
  CAFFE_REQUIRE(p.has_base_lr(), "the solver has no base_lr");
  const auto policy = policies().find(p.lr_policy());
  CAFFE_REQUIRE(policy != policies().end(), "Unknown learning rate policy: ", p.lr_policy(),
                " (known policies: ", known, ")");
  const Entry& needs = policy->second;
  const auto require = [&](bool fine, const char* what) {
    CAFFE_REQUIRE(fine, "lr_policy: \"", p.lr_policy(), "\" needs ", what);
  };
  require(!needs.gamma || p.gamma() >= 0, "gamma >= 0");
  require(!needs.stepsize || p.stepsize() > 0, "stepsize > 0");
  require(!needs.max_iter || p.max_iter() > 0, "max_iter > 0");
}

float learning_rate(const SolverParameter& param, int64_t iteration, int32_t* current_step) {
  const double factor =
      policies().at(param.lr_policy()).factor(param, static_cast<double>(iteration), current_step);
  return static_cast<float>(param.base_lr() * factor);
}

}  // namespace caffe
