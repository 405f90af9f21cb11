// Gradients on their way: what is summed when, and that it changes no result.
#include "solvers/parameter_update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "io/prototxt.h"
#include "solvers/solver.h"
#include "support/error_of.h"
#include "support/scratch.h"

namespace caffe {
namespace {

using testing::error_of;

// The other worker has the same gradients and loss: every sum is twice what it was, the mean is
// what one worker has, to the last bit.
class MirrorExchange : public Exchange {
 public:
  int rank() const override { return 0; }
  int world() const override { return 2; }
  void sum(float* values, size_t count) override {
    twice(values, count);
    // What ranks agree on, as they meet.
    if (others_object && count == 2) values[1] += 1;
  }
  void broadcast(void*, size_t, int) override {}
  uint64_t start_sum(float* values, size_t count) override {
    if (++started_ == fails_at) fail(ErrorCode::kCommunication, "rank 1 is gone");
    log += 's';
    // Done at once, so that a gradient that is not complete yet is noticed.
    twice(values, count);
    sizes.push_back(count);
    return started_;
  }
  uint64_t start_apply(float* values, float* results, size_t count, const Apply& apply) override {
    const uint64_t sum = start_sum(values, count);
    // In two pieces, neither of which ends where a parameter does.
    const size_t middle = count / 2 + 1;
    apply(middle, count - middle);
    apply(0, middle);
    applied += results != values;
    return sum;
  }
  // What the mirror owns it has computed, too.
  Part owned(size_t count, int) const override { return {0, count}; }
  bool done(uint64_t) override {
    log += 'd';
    return arrives_within_backward;
  }
  void wait(uint64_t) override { log += 'w'; }
  bool rounds() const override { return rounded; }
  void abandon(const Error& cause) noexcept override { abandoned = cause.message(); }
  double seconds() const override { return 0; }

  bool arrives_within_backward = true;
  uint64_t fails_at = 0;
  int applied = 0;
  bool rounded = false;
  bool others_object = false;
  std::string log;
  std::vector<size_t> sizes;
  std::string abandoned;

 private:
  static void twice(float* values, size_t count) {
    for (size_t i = 0; i < count; ++i) values[i] *= 2;
  }
  uint64_t started_ = 0;
};

std::string product(const std::string& name, const std::string& bottom, int outputs,
                    const std::string& more = "") {
  return concat("layer { name: '", name, "' type: 'InnerProduct' bottom: '", bottom, "' top: '",
                name, "' ", more, " inner_product_param { num_output: ", outputs,
                " weight_filler { type: 'xavier' } } } layer { name: 't", name,
                "' type: 'TanH' bottom: '", name, "' top: '", name, "' }");
}

const char* const kShared = "param { name: 'w' } param { name: 'b' }";

// About 360 KB of weights in each inner layer, so several buckets.
SolverParameter param(const std::string& more, const std::string& layers) {
  return parse_solver(
      "base_lr: 0.1 lr_policy: 'step' gamma: 0.5 stepsize: 2 momentum: 0.9 weight_decay: 0.01 "
      "random_seed: 5 max_iter: 100 " +
          more +
          " net_param { layer { name: 'x' type: 'DummyData' top: 'x' top: 'label' dummy_data_param "
          "{ shape { dim: 4 dim: 300 } shape { dim: 4 } data_filler { type: 'constant' value: 0.3 "
          "} data_filler { type: 'constant' value: 1 } } } " +
          layers +
          " layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'out' bottom: 'label' top: "
          "'loss' } }",
      "solver");
}

std::string deep() {
  return product("a", "x", 300) + product("b", "a", 300) + product("c", "b", 300) +
         product("out", "c", 10);
}

std::unique_ptr<Solver> make(const SolverParameter& param, Exchange* exchange) {
  SolverOptions options;
  options.observed = std::vector<std::string>();
  options.world = exchange ? 2 : 1;
  auto solver = std::make_unique<Solver>(param, options);
  if (exchange) solver->set_exchange(exchange);
  return solver;
}

std::string state(Solver& solver) {
  std::string all = solver.net().to_proto().SerializeAsString();
  for (const auto& blob : solver.history()) {
    all.append(reinterpret_cast<const char*>(blob->data_as<float>()),
               static_cast<size_t>(blob->count()) * sizeof(float));
  }
  return all;
}

struct Case {
  const char* name;
  std::string solver;
  std::string layers;
};

class Exchanged : public ::testing::TestWithParam<Case> {};

TEST_P(Exchanged, EndsWithTheBitsOfOneWorker) {
  const SolverParameter solver = param(GetParam().solver, GetParam().layers);
  const auto alone = make(solver, nullptr);
  for (const bool within : {true, false}) {
    MirrorExchange exchange;
    exchange.arrives_within_backward = within;
    const auto together = make(solver, &exchange);
    const auto reference = make(solver, nullptr);
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(together->train_iteration().loss,
                static_cast<double>(static_cast<float>(reference->train_iteration().loss)));
    }
    EXPECT_TRUE(state(*together) == state(*reference));
    EXPECT_EQ(exchange.applied > 0, !solver.has_clip_gradients());
    EXPECT_FALSE(state(*together) == state(*alone));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Exchanged,
    ::testing::Values(Case{"plain", "", deep()}, Case{"sub_batches", "iter_size: 3", deep()},
                      Case{"clipped", "clip_gradients: 0.05", deep()},
                      Case{"adam", "type: 'Adam' momentum2: 0.99", deep()},
                      Case{"l1", "regularization_type: 'L1'", deep()},
                      // Used by the topmost and the lowest layer; complete with the lowest.
                      Case{"shared", "",
                           product("a", "x", 300, kShared) + product("b", "a", 300) +
                               product("c", "b", 300, kShared) + product("out", "c", 10)},
                      Case{"frozen", "",
                           product("a", "x", 300, "param { lr_mult: 0 } param { lr_mult: 0 }") +
                               product("b", "a", 300) + product("out", "b", 10)}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Buckets, StartWhileBackwardGoesOn) {
  MirrorExchange exchange;
  const auto solver = make(param("", deep()), &exchange);
  exchange.log.clear();
  solver->train_iteration();
  // The last bucket is started after the first one has arrived.
  EXPECT_LT(exchange.log.find('d'), exchange.log.rfind('s')) << exchange.log;
  EXPECT_GE(exchange.sizes.size(), 3u);
  size_t total = 0;
  for (const size_t size : exchange.sizes) total += size;
  // All gradients and the loss, and what aligns them.
  EXPECT_GE(total, 3u * 300 * 301 + 10 * 301 + 1);
  EXPECT_LE(total, 3u * 300 * 301 + 10 * 301 + 1 + 8 * 16);
}

TEST(Buckets, AreTheSameInEveryIteration) {
  MirrorExchange exchange;
  const auto solver = make(param("iter_size: 2", deep()), &exchange);
  solver->train_iteration();
  const std::vector<size_t> first = exchange.sizes;
  exchange.sizes.clear();
  solver->train_iteration();
  EXPECT_EQ(exchange.sizes, first);
}

TEST(Buckets, WaitForTheEndWhereSomebodyLooksBetweenLayers) {
  MirrorExchange exchange;
  const auto solver = make(param("", deep()), &exchange);
  std::string starts;
  solver->net().add_callback(Net::Moment::kAfterBackward,
                             [&](int) { starts += std::to_string(exchange.sizes.size()); });
  solver->train_iteration();
  EXPECT_EQ(starts.find_first_not_of('0'), std::string::npos) << starts;
  EXPECT_GE(exchange.sizes.size(), 3u);
}

TEST(SharedUpdates, AreNotWhereSomebodyWantsTheGradients) {
  const auto shares = [](const std::string& more, bool observed, bool callback, bool rounds) {
    MirrorExchange exchange;
    exchange.rounded = rounds;
    SolverOptions options;
    if (!observed) options.observed = std::vector<std::string>();
    options.world = 2;
    Solver solver(param(more, deep()), options);
    if (callback) solver.add_callback(nullptr, [] {});
    solver.set_exchange(&exchange);
    solver.train_iteration();
    return exchange.applied > 0;
  };
  EXPECT_TRUE(shares("", false, false, false));
  EXPECT_FALSE(shares("snapshot_diff: true", false, false, false));
  EXPECT_FALSE(shares("clip_gradients: 1", false, false, false));
  EXPECT_FALSE(shares("", true, false, false));
  EXPECT_FALSE(shares("", false, true, false));
  EXPECT_FALSE(shares("", false, false, true));
}

TEST(SharedUpdates, AreNotWhereAnotherRankWantsTheGradients) {
  MirrorExchange exchange;
  exchange.others_object = true;
  const auto solver = make(param("", deep()), &exchange);
  solver->train_iteration();
  EXPECT_EQ(exchange.applied, 0);
}

TEST(SharedUpdates, RefuseWhoComesLateForTheGradients) {
  MirrorExchange exchange;
  const auto solver = make(param("", deep()), &exchange);
  EXPECT_THAT(error_of([&] { solver->add_callback(nullptr, [] {}); }),
              ::testing::HasSubstr("must be added before the solver joins other workers"));
  EXPECT_THAT(error_of([&] { solver->apply_update(); }), ::testing::HasSubstr("share its updates"));
  solver->add_callback([] {}, nullptr);
  solver->train_iteration();
}

class SharedUpdatesOfViews : public ::testing::TestWithParam<std::string> {};

TEST_P(SharedUpdatesOfViews, ReachTheViews) {
  MirrorExchange exchange;
  const auto solver = make(param("", GetParam()), &exchange);
  const auto reference = make(param("", GetParam()), nullptr);
  solver->train_iteration();
  reference->train_iteration();
  std::vector<std::shared_ptr<Buffer::Pin>> pins;
  for (const Net::Parameter& parameter : solver->net().parameters()) {
    pins.push_back(parameter.blob->data().pin());
  }
  for (int i = 0; i < 2; ++i) {
    solver->train_iteration();
    reference->train_iteration();
  }
  const Blob& first = *reference->net().parameters()[0].blob;
  EXPECT_EQ(std::memcmp(pins[0]->storage->data(), first.data_as<float>(),
                        static_cast<size_t>(first.count()) * sizeof(float)),
            0);
  EXPECT_TRUE(state(*solver) == state(*reference));
}

INSTANTIATE_TEST_SUITE_P(
    Layers, SharedUpdatesOfViews,
    // Of a parameter in several buckets, and of one that lies in another order than its views.
    ::testing::Values(product("a", "x", 9000) + product("b", "a", 300) + product("out", "b", 10),
                      "layer { name: 'image' type: 'Reshape' bottom: 'x' top: 'image' "
                      "reshape_param { shape { dim: 4 dim: 3 dim: 10 dim: 10 } } } "
                      "layer { name: 'conv' type: 'Convolution' bottom: 'image' top: 'conv' "
                      "convolution_param { num_output: 32 kernel_size: 3 weight_filler { type: "
                      "'xavier' } } } " +
                          product("out", "conv", 10)),
    [](const auto& info) { return std::string(info.index == 0 ? "large" : "blocked"); });

TEST(SharedUpdates, LeaveANetThatLivesLongerItsWeights) {
  MirrorExchange exchange;
  auto solver = make(param("", deep()), &exchange);
  const auto reference = make(param("", deep()), nullptr);
  solver->train_iteration();
  reference->train_iteration();
  const std::shared_ptr<Net> net = solver->net_ptr();
  solver.reset();
  EXPECT_EQ(net->forward(), reference->net().forward());
  net->backward();
  EXPECT_TRUE(net->to_proto().SerializeAsString() ==
              reference->net().to_proto().SerializeAsString());
}

TEST(SharedUpdates, LeaveNoWholeStateUnlessOneAskedForIt) {
  MirrorExchange exchange;
  const auto solver = make(param("", deep()), &exchange);
  const testing::Scratch scratch;
  const auto write = [&] { solver->write_snapshot(scratch.path("m"), scratch.path("s"), ""); };
  EXPECT_EQ(error_of(write), "");
  solver->train_iteration();
  EXPECT_THAT(error_of(write), ::testing::HasSubstr("spread over the workers"));
  solver->keep_state();
  solver->train_iteration();
  EXPECT_EQ(error_of(write), "");
}

TEST(SharedUpdates, AreAgreedOnOnce) {
  MirrorExchange exchange;
  const auto solver = make(param("", deep()), &exchange);
  EXPECT_THAT(error_of([&] { solver->set_exchange(&exchange); }),
              ::testing::HasSubstr("make a new one from a snapshot"));
  solver->train_iteration();
}

// All that travels stays where it is, and every rank's parts of the history with it.
TEST(SharedUpdates, GoOnWhereTheNetIsPlannedAnew) {
  MirrorExchange exchange;
  const auto solver = make(param("", deep()), &exchange);
  const auto reference = make(param("", deep()), nullptr);
  std::vector<size_t> sizes;
  for (int i = 0; i < 3; ++i) {
    exchange.sizes.clear();
    solver->train_iteration();
    reference->train_iteration();
    if (i == 0) sizes = exchange.sizes;
    EXPECT_EQ(exchange.sizes, sizes);
    const int64_t before = solver->net().plan_generation();
    solver->net().reshape();
    reference->net().reshape();
    EXPECT_GT(solver->net().plan_generation(), before);
  }
  EXPECT_TRUE(state(*solver) == state(*reference));
}

TEST(Buckets, WeightsStayUntilTheGradientsWereShown) {
  const auto solver = make(param("", deep()), nullptr);
  const std::string before = state(*solver);
  bool same = false;
  solver->add_callback([] {}, [&] { same = state(*solver) == before; });
  solver->train_iteration();
  EXPECT_TRUE(same);
  EXPECT_FALSE(state(*solver) == before);
}

TEST(Buckets, AnErrorOfTheExchangeReachesTheCallerAndEndsIt) {
  MirrorExchange exchange;
  const auto solver = make(param("", deep()), &exchange);
  exchange.fails_at = 2;
  try {
    solver->train_iteration();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCommunication);
    EXPECT_EQ(error.message(), "rank 1 is gone");
  }
  EXPECT_EQ(exchange.abandoned, "rank 1 is gone");
}

TEST(Buckets, AnErrorOfThisRankIsToldToTheOthers) {
  MirrorExchange exchange;
  const auto solver = make(param("", deep()), &exchange);
  solver->net().add_callback(Net::Moment::kBeforeBackward, [](int layer) {
    if (layer == 1) fail(ErrorCode::kData, "the disk is gone");
  });
  EXPECT_THROW(solver->train_iteration(), Error);
  EXPECT_THAT(exchange.abandoned, ::testing::HasSubstr("the disk is gone"));
}

}  // namespace
}  // namespace caffe
