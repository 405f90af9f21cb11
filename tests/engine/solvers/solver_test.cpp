#include "solvers/solver.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "io/files.h"
#include "io/prototxt.h"
#include "io/snapshot.h"
#include "support/error_of.h"
#include "support/scratch.h"

namespace caffe {
namespace {

using testing::error_of;

// A small smooth net on the real digits of tests/golden/e2e_digits.
class SolverTest : public ::testing::Test {
 protected:
  SolverTest() { scratch_.golden("e2e_digits/digits_train_lmdb"); }

  SolverParameter param(const std::string& more = "") const {
    const std::string data = "data_param { source: '" + scratch_.path("digits_train_lmdb") +
                             "' backend: LMDB batch_size: 20 }";
    return parse_solver(
        "base_lr: 0.05 lr_policy: 'inv' gamma: 0.01 power: 0.75 momentum: 0.9 weight_decay: 0.001 "
        "random_seed: 3 "
        "max_iter: 20 snapshot_prefix: '" +
            scratch_.path("s") +
            "' net_param { name: 'small'"
            " layer { name: 'd' type: 'Data' top: 'data' top: 'label' transform_param { scale: "
            "0.00390625 } " +
            data +
            " }"
            " layer { name: 'ip1' type: 'InnerProduct' bottom: 'data' top: 'ip1' "
            "inner_product_param { num_output: 16"
            "   weight_filler { type: 'xavier' } } }"
            " layer { name: 't' type: 'TanH' bottom: 'ip1' top: 't' }"
            " layer { name: 'drop' type: 'Dropout' bottom: 't' top: 't2' }"
            " layer { name: 'ip2' type: 'InnerProduct' bottom: 't2' top: 'ip2' inner_product_param "
            "{ num_output: 10"
            "   weight_filler { type: 'xavier' } } }"
            " layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip2' bottom: 'label' top: "
            "'loss' } } " +
            more,
        "solver.prototxt");
  }

  static std::string weights(Solver& solver) { return solver.net().to_proto().SerializeAsString(); }
  static void run(Solver& solver, int iterations) {
    for (int i = 0; i < iterations; ++i) solver.train_iteration();
  }

  testing::Scratch scratch_;
};

TEST_F(SolverTest, Learns) {
  Solver solver(param(), {});
  const double first = solver.train_iteration().loss;
  run(solver, 60);
  EXPECT_LT(solver.train_iteration().loss, 0.7 * first);
}

TEST_F(SolverTest, TheSameSeedGivesTheSameWeights) {
  Solver first(param(), {});
  Solver second(param(), {});
  run(first, 5);
  run(second, 5);
  EXPECT_EQ(weights(first), weights(second));
  SolverOptions other;
  other.seed = 4;
  Solver third(param(), other);
  run(third, 5);
  EXPECT_NE(weights(first), weights(third));
}

TEST_F(SolverTest, ContinuesBitForBitWhereItStopped) {
  Solver whole(param(), {});
  run(whole, 7);
  whole.write_snapshot(scratch_.path("m"), scratch_.path("state"), scratch_.path("m"));
  run(whole, 6);
  SolverOptions options;
  options.state = scratch_.path("state");
  options.continue_data = true;
  Solver resumed(param(), options);
  EXPECT_EQ(resumed.iter(), 7);
  run(resumed, 6);
  EXPECT_EQ(weights(resumed), weights(whole));
}

TEST_F(SolverTest, ResumesAtTheFirstRecordAsCaffeDoes) {
  Solver whole(param(), {});
  run(whole, 7);
  whole.write_snapshot(scratch_.path("m"), scratch_.path("state"), scratch_.path("m"));
  run(whole, 3);
  Solver resumed(param(), {});
  resumed.restore(scratch_.path("state"));
  run(resumed, 3);
  EXPECT_NE(weights(resumed), weights(whole));
}

TEST_F(SolverTest, SubBatchesAreAsGoodAsOneLargeBatch) {
  SolverParameter smooth = param();
  smooth.mutable_net_param()->mutable_layer(3)->mutable_dropout_param()->set_dropout_ratio(0);
  SolverParameter halves = smooth;
  halves.set_iter_size(2);
  halves.mutable_net_param()->mutable_layer(0)->mutable_data_param()->set_batch_size(10);
  Solver one(smooth, {});
  Solver two(halves, {});
  run(one, 5);
  run(two, 5);
  const float* a = one.net().parameters()[0].blob->data_as<float>();
  const float* b = two.net().parameters()[0].blob->data_as<float>();
  for (int64_t i = 0; i < one.net().parameters()[0].blob->count(); ++i)
    ASSERT_NEAR(a[i], b[i], 1e-5);
}

TEST_F(SolverTest, ClipsTheGlobalNormOfTheGradients) {
  SolverParameter clipped = param("clip_gradients: 0.01");
  clipped.set_momentum(0);
  clipped.set_weight_decay(0);
  clipped.set_base_lr(1);
  clipped.set_lr_policy("fixed");
  Solver solver(clipped, {});
  std::vector<std::vector<float>> before;
  for (const auto& p : solver.net().parameters()) {
    const float* data = p.blob->data_as<float>();
    before.emplace_back(data, data + p.blob->count());
  }
  solver.train_iteration();
  double squares = 0;
  for (size_t k = 0; k < before.size(); ++k) {
    const float* data = solver.net().parameters()[k].blob->data_as<float>();
    for (size_t i = 0; i < before[k].size(); ++i) squares += std::pow(before[k][i] - data[i], 2.0);
  }
  EXPECT_NEAR(std::sqrt(squares), 0.01, 1e-5);
}

TEST_F(SolverTest, SnapshotsLeaveNothingElseBehind) {
  Solver solver(param("snapshot: 2"), {});
  solver.step(4);
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(scratch_.path())) {
    files.insert(entry.path().filename().string());
  }
  EXPECT_EQ(files, (std::set<std::string>{"digits_train_lmdb", "s_iter_2.caffemodel",
                                          "s_iter_2.solverstate", "s_iter_4.caffemodel",
                                          "s_iter_4.solverstate"}));
  const SolverState state = read_state(scratch_.path("s_iter_4.solverstate"));
  EXPECT_EQ(state.iter(), 4);
  EXPECT_EQ(state.learned_net(), scratch_.path("s_iter_4.caffemodel"));
  EXPECT_EQ(state.history_size(), 4);
}

TEST_F(SolverTest, ModelsCutInHalfAreRefusedByName) {
  Solver solver(param(), {});
  const std::string model = scratch_.path("m.caffemodel");
  solver.write_snapshot(model, "", "");
  const std::string bytes = read_file(model);
  testing::write_file(model, bytes.substr(0, bytes.size() / 2));
  SolverOptions options;
  options.weights = model;
  const std::string message = error_of([&] { Solver fine_tuned(param(), options); });
  EXPECT_NE(message.find(model), std::string::npos) << message;
  EXPECT_NE(message.find("cut short"), std::string::npos) << message;
}

TEST_F(SolverTest, StatesOfOtherNetsAreRefused) {
  Solver solver(param(), {});
  SolverState state;
  state.set_iter(3);
  write_state(scratch_.path("state"), state);
  EXPECT_NE(error_of([&] { solver.restore(scratch_.path("state")); }).find("0 history blobs"),
            std::string::npos);
}

TEST_F(SolverTest, UnwritableSnapshotFoldersAreFoundAtTheStart) {
  SolverParameter bad = param("snapshot: 100");
  bad.set_snapshot_prefix(scratch_.path("missing/s"));
  Solver solver(bad, {});
  const std::string message = error_of([&] { solver.step(1); });
  EXPECT_NE(message.find("missing/s"), std::string::npos) << message;
  EXPECT_EQ(solver.iter(), 0);
}

TEST_F(SolverTest, UnknownTypesAreListed) {
  SolverParameter bad = param();
  bad.set_type("Foo");
  EXPECT_EQ(
      error_of([&] { Solver solver(bad, {}); }).find("Unknown solver type: Foo (known types: "),
      0u);
}

TEST_F(SolverTest, TestNetsSeeTheTrainedWeights) {
  SolverParameter with_test = param("test_iter: 3 test_interval: 10");
  Solver solver(with_test, {});
  const float before = solver.test(0)[0].values[0];
  run(solver, 60);
  EXPECT_LT(solver.test(0)[0].values[0], 0.7f * before);
}

// As in Caffe: regularisation goes into the history of parameters that are not learned.
TEST_F(SolverTest, HistoryOfFrozenParametersGathersTheirDecay) {
  for (const char* const type : {"SGD", "Adam"}) {
    SolverParameter frozen = param();
    frozen.set_type(type);
    frozen.mutable_net_param()->mutable_layer(1)->add_param()->set_lr_mult(0);
    Solver solver(frozen, {});
    const Blob& weights = *solver.net().layers()[1]->blobs()[0];
    const std::vector<float> before(weights.data_as<float>(),
                                    weights.data_as<float>() + weights.count());
    run(solver, 3);
    const float gathered = type == std::string("SGD") ? 0 : 1 - std::pow(0.9f, 3.f);
    for (int64_t i = 0; i < weights.count(); i += 97) {
      const float w = before[static_cast<size_t>(i)];
      EXPECT_EQ(weights.data_as<float>()[i], w);
      EXPECT_NEAR(solver.history()[0]->data_as<float>()[i], gathered * 0.001f * w, 1e-9) << type;
    }
  }
}

TEST_F(SolverTest, TheTestLossIsThatOfTheWholeNet) {
  SolverParameter with_test = param("test_iter: 2 test_interval: 10");
  LayerParameter* norm = with_test.mutable_net_param()->add_layer();
  norm->set_name("norm");
  norm->set_type("Reduction");
  norm->add_bottom("t");
  norm->add_top("norm");
  norm->add_loss_weight(0.5);
  LayerParameter* end = with_test.mutable_net_param()->add_layer();
  end->set_name("end");
  end->set_type("Silence");
  end->add_bottom("norm");
  Solver solver(with_test, {});
  double loss = 0;
  const std::vector<NamedValues> outputs = solver.test(0, &loss);
  double shown = 0;
  for (const NamedValues& output : outputs) shown += output.values[0];
  EXPECT_GT(std::abs(loss - shown), 1e-3);
}

TEST_F(SolverTest, ATestOfNoBatchesGivesNothing) {
  Solver solver(param("test_iter: 0 test_interval: 10"), {});
  EXPECT_TRUE(solver.test(0).empty());
  solver.test_all();
}

TEST_F(SolverTest, CancelEndsTraining) {
  Solver solver(param(), {});
  solver.cancel();
  try {
    solver.train_iteration();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
}

}  // namespace
}  // namespace caffe
