#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <future>
#include <thread>

#include "capi/handles.h"
#include "proto/caffe.pb.h"

namespace caffe::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const char* const kSgd =
    "base_lr: 0.1 lr_policy: 'inv' gamma: 0.001 power: 0.75 momentum: 0.9 weight_decay: 0.0005 "
    "random_seed: 7 "
    "max_iter: 200 solver_mode: CPU";

std::string solver_text(const Digits& digits, const std::string& more = "", int batch = 10) {
  return with_net(kSgd + (" " + more), smooth_net(digits.train, digits.test, batch));
}

int status_of(const std::string& text, const std::string& options = "") {
  SolverHandle solver;
  return create_solver(text, options, &solver);
}

caffe_progress step(const SolverHandle& solver, int64_t iterations) {
  caffe_progress progress{};
  must(caffe_solver_step(solver.get(), iterations, &progress));
  return progress;
}

std::string snapshot(const SolverHandle& solver, const Scratch& scratch, const std::string& name) {
  const std::string model = scratch.path(name + ".caffemodel");
  must(caffe_solver_snapshot(solver.get(), model.c_str(),
                             scratch.path(name + ".solverstate").c_str(), model.c_str()));
  return read_file(model);
}

TEST(SolverCreate, SaysWhatIsWrong) {
  const Digits digits;
  EXPECT_EQ(status_of(solver_text(digits, "type: 'Foo'")), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("Unknown solver type: Foo (known types: "));
  EXPECT_EQ(status_of(solver_text(digits), "rank=2\nworld=2"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("rank 2"));
  EXPECT_EQ(status_of(solver_text(digits), "ranks=2"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), AllOf(HasSubstr("'ranks'"), HasSubstr("rank, world")));
  EXPECT_EQ(status_of(solver_text(digits), "precision=BF16"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("option 'precision' is f32 or bf16, not \"BF16\""));
  EXPECT_EQ(status_of(solver_text(digits), "shuffle=yes"), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("shuffle"));
  EXPECT_EQ(status_of(with_net(kSgd, smooth_net("/does/not/exist", digits.test, 8))), CAFFE_IO);
  EXPECT_THAT(caffe_last_error(),
              AllOf(HasSubstr("[layer data (Data)]"), HasSubstr("/does/not/exist")));
}

TEST(Solver, LearnsAndTellsItsProgress) {
  const Digits digits;
  const SolverHandle solver = make_solver(solver_text(digits, "test_iter: 2 test_interval: 100"));
  EXPECT_EQ(caffe_solver_iter(solver.get()), 0);
  EXPECT_EQ(caffe_solver_max_iter(solver.get()), 200);
  const caffe_progress first = step(solver, 1);
  EXPECT_NEAR(first.loss, std::log(10.0), 0.5);
  EXPECT_NEAR(first.learning_rate, 0.1, 1e-6);
  const caffe_progress last = step(solver, 199);
  EXPECT_EQ(last.iter, 200);
  EXPECT_EQ(caffe_solver_iter(solver.get()), 200);
  EXPECT_EQ(last.records, 1990);
  EXPECT_LT(last.loss, 0.5 * first.loss);
  EXPECT_LT(last.learning_rate, first.learning_rate);
  EXPECT_GT(last.seconds, 0);
  EXPECT_GE(last.data_seconds, 0);
  EXPECT_EQ(last.comm_seconds, 0);
}

TEST(Solver, TestsItsNets) {
  const Digits digits;
  const SolverHandle solver =
      make_solver(solver_text(digits, "test_iter: 2 test_interval: 100", 12));
  ASSERT_EQ(caffe_solver_test_nets(solver.get()), 1);
  EXPECT_THAT(strings_of([&](caffe_strings** n) {
                return caffe_solver_test_output_names(solver.get(), 0, n);
              }),
              ::testing::ElementsAre("accuracy", "loss"));
  caffe_outputs* raw = nullptr;
  must(caffe_solver_test(solver.get(), 0, &raw));
  const OutputsHandle outputs(raw);
  ASSERT_EQ(caffe_outputs_size(raw), 2u);
  EXPECT_STREQ(caffe_outputs_name(raw, 1), "loss");
  EXPECT_EQ(caffe_outputs_count(raw, 1), 1u);
  EXPECT_NEAR(caffe_outputs_values(raw, 1)[0], std::log(10.0), 0.5);
  caffe_outputs* none = nullptr;
  EXPECT_EQ(caffe_solver_test(solver.get(), 1, &none), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("no test net 1"));
}

TEST(Solver, TellsWhereTheTimeOfAnIterationGoes) {
  const Digits digits;
  const SolverHandle solver = make_solver(solver_text(digits));
  caffe_progress progress{};
  must(caffe_solver_step(solver.get(), 3, &progress));
  caffe_outputs* raw = nullptr;
  must(caffe_solver_layer_times(solver.get(), &raw));
  const OutputsHandle times(raw);
  ASSERT_GT(caffe_outputs_size(raw), 5u);
  double sum = 0;
  for (size_t i = 0; i < caffe_outputs_size(raw); ++i) {
    ASSERT_EQ(caffe_outputs_count(raw, i), 2u);
    sum += caffe_outputs_values(raw, i)[0] + caffe_outputs_values(raw, i)[1];
    const bool inner = std::string(caffe_outputs_name(raw, i)) == "conv2 (Convolution)";
    EXPECT_GE(caffe_outputs_values(raw, i)[1], inner ? 1e-9f : 0);
  }
  EXPECT_GT(sum, 0);
  EXPECT_LE(sum, progress.seconds / 3);
}

TEST(Solver, GoesOnFromASnapshotAsIfItHadNotStopped) {
  const Digits digits;
  const SolverHandle whole = make_solver(solver_text(digits), "threads=1");
  step(whole, 13);
  snapshot(whole, digits.scratch, "half");
  step(whole, 12);
  const SolverHandle resumed =
      make_solver(solver_text(digits),
                  "threads=1\ncontinue_data=1\nstate=" + digits.scratch.path("half.solverstate"));
  EXPECT_EQ(caffe_solver_iter(resumed.get()), 13);
  step(resumed, 12);
  EXPECT_TRUE(snapshot(whole, digits.scratch, "a") == snapshot(resumed, digits.scratch, "b"));
}

// Parameters after a few steps.
std::vector<float> trained(const Digits& digits, const std::string& text,
                           const std::string& options) {
  const SolverHandle solver = make_solver(text, "threads=1\n" + options);
  step(solver, 10);
  NetParameter net;
  net.ParseFromString(snapshot(solver, digits.scratch, "trained"));
  std::vector<float> values;
  for (const LayerParameter& layer : net.layer()) {
    for (const BlobProto& blob : layer.blobs())
      values.insert(values.end(), blob.data().begin(), blob.data().end());
  }
  return values;
}

bool is_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits & 0xffff) == 0;
}

TEST(Solver, ComputesInBf16AndKeepsItsParametersInFloat32) {
  if (!has_bf16()) GTEST_SKIP() << "this processor does not compute in bf16";
  const Digits digits;
  const std::string plain_text = solver_text(digits),
                    rounded_text = solver_text(digits, "precision: BF16");
  const std::vector<float> plain = trained(digits, plain_text, "");
  const std::vector<float> rounded = trained(digits, plain_text, "precision=bf16");
  ASSERT_EQ(rounded.size(), plain.size());
  EXPECT_NE(rounded, plain);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_NEAR(rounded[i], plain[i], 2e-2);
  EXPECT_FALSE(std::all_of(rounded.begin(), rounded.end(), is_bf16));
  EXPECT_EQ(trained(digits, rounded_text, ""), rounded);
  EXPECT_EQ(trained(digits, rounded_text, "precision=f32"), plain);
}

TEST(Solver, GoesOnAtTheBatchThatIsNamed) {
  const Digits digits;
  const SolverHandle whole = make_solver(solver_text(digits), "threads=1");
  step(whole, 2);
  snapshot(whole, digits.scratch, "half");
  const std::string state = "threads=1\nstate=" + digits.scratch.path("half.solverstate");
  const auto trained = [&](const std::string& more, const char* name) {
    const SolverHandle solver = make_solver(solver_text(digits), state + more);
    step(solver, 1);
    return snapshot(solver, digits.scratch, name);
  };
  const auto plain = trained("", "plain");
  EXPECT_TRUE(trained("\ncontinue_data=1\nfirst_batch=0", "a") == plain);
  EXPECT_FALSE(trained("\ncontinue_data=1\nfirst_batch=1", "b") == plain);
  EXPECT_TRUE(trained("\ncontinue_data=1\nfirst_batch=2", "c") ==
              trained("\ncontinue_data=1", "d"));
}

TEST(Solver, StartsAtTheFirstRecordAfterAPlainRestore) {
  const Digits digits;
  const SolverHandle whole = make_solver(solver_text(digits), "threads=1");
  step(whole, 1);
  snapshot(whole, digits.scratch, "half");
  step(whole, 1);
  const std::string state = "state=" + digits.scratch.path("half.solverstate");
  const SolverHandle resumed = make_solver(solver_text(digits), "threads=1\n" + state);
  step(resumed, 1);
  EXPECT_NE(snapshot(whole, digits.scratch, "a"), snapshot(resumed, digits.scratch, "b"));
}

TEST(Solver, ShufflesBySeed) {
  const Digits digits;
  const auto model = [&](const std::string& options, const std::string& name) {
    const SolverHandle solver = make_solver(solver_text(digits), "threads=1\n" + options);
    step(solver, 3);
    return snapshot(solver, digits.scratch, name);
  };
  EXPECT_TRUE(model("shuffle=1", "a") == model("shuffle=1", "b"));
  EXPECT_NE(model("shuffle=1", "c"), model("shuffle=0", "d"));
  EXPECT_NE(model("seed=8", "e"), model("", "f"));
}

TEST(Solver, WritesTheLearnedNetThatItIsTold) {
  const Digits digits;
  const SolverHandle solver = make_solver(solver_text(digits));
  const std::string model = digits.scratch.path("m.caffemodel"),
                    state = digits.scratch.path("m.solverstate");
  must(caffe_solver_snapshot(solver.get(), model.c_str(), state.c_str(),
                             "hdfs://there/m.caffemodel"));
  SolverState written;
  ASSERT_TRUE(written.ParseFromString(read_file(state)));
  EXPECT_EQ(written.learned_net(), "hdfs://there/m.caffemodel");
  const std::string alone = digits.scratch.path("alone.caffemodel");
  must(caffe_solver_snapshot(solver.get(), alone.c_str(), nullptr, nullptr));
  EXPECT_TRUE(read_file(alone) == read_file(model));
  EXPECT_EQ(caffe_solver_snapshot(solver.get(), "/does/not/exist/m.caffemodel", nullptr, nullptr),
            CAFFE_IO);
  EXPECT_THAT(caffe_last_error(), HasSubstr("/does/not/exist"));
}

TEST(Solver, RefusesWeightsOfAnotherShape) {
  const Digits digits;
  const SolverHandle solver = make_solver(solver_text(digits));
  snapshot(solver, digits.scratch, "m");
  std::string other = solver_text(digits);
  other.replace(other.find("num_output: 12"), 14, "num_output: 13");
  EXPECT_NE(status_of(other, "weights=" + digits.scratch.path("m.caffemodel")), CAFFE_OK);
  EXPECT_THAT(caffe_last_error(), AllOf(HasSubstr("ip1"), HasSubstr("shape")));
}

TEST(Solver, EndsItsStepsWhenItIsCancelledFromAnotherThread) {
  const Digits digits;
  const SolverHandle solver = make_solver(solver_text(digits));
  step(solver, 1);
  auto stepping = std::async(std::launch::async, [&] {
    const int status = caffe_solver_step(solver.get(), 1'000'000'000, nullptr);
    return std::pair(status, std::string(caffe_last_error()));
  });
  caffe_solver_cancel(solver.get());
  ASSERT_EQ(stepping.wait_for(std::chrono::seconds(60)), std::future_status::ready);
  const auto [status, error] = stepping.get();
  EXPECT_EQ(status, CAFFE_CANCELLED);
  EXPECT_THAT(error, HasSubstr("cancelled"));
  EXPECT_EQ(caffe_solver_step(solver.get(), 1, nullptr), CAFFE_CANCELLED);
}

TEST(Solver, LivesBesideOthersOnOtherThreads) {
  const Digits digits;
  const auto model = [&](const std::string& name) {
    const SolverHandle solver = make_solver(solver_text(digits), "threads=1");
    step(solver, 20);
    return snapshot(solver, digits.scratch, name);
  };
  const std::string alone = model("alone");
  auto other = std::async(std::launch::async, [&] { return model("beside1"); });
  EXPECT_TRUE(model("beside2") == alone);
  EXPECT_TRUE(other.get() == alone);
}

}  // namespace
}  // namespace caffe::testing
