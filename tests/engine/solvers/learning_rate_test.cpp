#include "solvers/learning_rate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "io/prototxt.h"

namespace caffe {
namespace {

SolverParameter solver(const std::string& text) {
  return parse_solver("base_lr: 0.5 " + text, "solver.prototxt");
}

float rate(const SolverParameter& param, int64_t iteration) {
  int32_t step = 0;
  return learning_rate(param, iteration, &step);
}

TEST(LearningRate, FollowsTheFormulas) {
  EXPECT_FLOAT_EQ(rate(solver("lr_policy: 'fixed'"), 7), 0.5f);
  EXPECT_FLOAT_EQ(rate(solver("lr_policy: 'step' gamma: 0.1 stepsize: 5"), 11), 0.005f);
  EXPECT_FLOAT_EQ(rate(solver("lr_policy: 'exp' gamma: 0.9"), 3), 0.5f * 0.729f);
  EXPECT_FLOAT_EQ(rate(solver("lr_policy: 'inv' gamma: 0.01 power: 0.75"), 100),
                  0.5f * std::pow(2.f, -0.75f));
  EXPECT_FLOAT_EQ(rate(solver("lr_policy: 'poly' power: 2 max_iter: 10"), 5), 0.125f);
  EXPECT_FLOAT_EQ(rate(solver("lr_policy: 'sigmoid' gamma: 0.5 stepsize: 10"), 10), 0.25f);
}

// As Caffe does, which has 0 for what is not given, and takes any power.
TEST(LearningRate, TakesCaffesDefaults) {
  const SolverParameter growing = solver("lr_policy: 'poly' power: -1 max_iter: 10");
  for (const char* text : {"lr_policy: 'inv' gamma: 0.1", "lr_policy: 'poly' max_iter: 10",
                           "lr_policy: 'inv' power: 0.75"}) {
    check_learning_rate(solver(text));
    EXPECT_FLOAT_EQ(rate(solver(text), 5), 0.5f) << text;
  }
  check_learning_rate(growing);
  EXPECT_FLOAT_EQ(rate(growing, 5), 1.0f);
  EXPECT_FLOAT_EQ(rate(solver("lr_policy: 'exp'"), 0), 0.5f);
  EXPECT_FLOAT_EQ(rate(solver("lr_policy: 'exp'"), 1), 0.0f);
}

TEST(LearningRate, MultistepAdvancesOneStepAnIteration) {
  const SolverParameter param =
      solver("lr_policy: 'multistep' gamma: 0.5 stepvalue: 2 stepvalue: 2 stepvalue: 3");
  int32_t step = 0;
  std::vector<float> rates;
  for (int i = 0; i < 6; ++i) rates.push_back(learning_rate(param, i, &step));
  EXPECT_EQ(rates, (std::vector<float>{0.5f, 0.5f, 0.25f, 0.125f, 0.0625f, 0.0625f}));
}

TEST(LearningRate, RefusesUnknownPoliciesAndMissingParameters) {
  const auto message = [](const std::string& text) {
    try {
      check_learning_rate(solver(text));
    } catch (const Error& error) {
      return error.message();
    }
    return std::string();
  };
  EXPECT_EQ(message("lr_policy: 'cosine'")
                .find("Unknown learning rate policy: cosine (known policies: exp, fixed"),
            0u);
  EXPECT_NE(message("lr_policy: 'step' gamma: 0.1").find("stepsize > 0"), std::string::npos);
  EXPECT_NE(message("lr_policy: 'sigmoid' gamma: -0.1 stepsize: 3").find("gamma >= 0"),
            std::string::npos);
  EXPECT_NE(message("lr_policy: 'poly' power: 1").find("max_iter > 0"), std::string::npos);
  EXPECT_EQ(message("lr_policy: 'fixed'"), "");
}

}  // namespace
}  // namespace caffe
