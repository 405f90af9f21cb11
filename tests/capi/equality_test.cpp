// What "N workers equal one" means, over processes that talk by TCP: docs/semantics.md, section
// Gradient.
#include <gmock/gmock.h>
#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "capi/group.h"
#include "io/prototxt.h"
#include "solvers/solver.h"

namespace caffe::testing {
namespace {

using ::testing::Each;

constexpr int kBatch = 4;  // per rank

std::string solver_of(const std::string& net, const std::string& more) {
  return with_net("lr_policy: 'fixed' random_seed: 11 max_iter: 1000 solver_mode: CPU " + more,
                  net);
}

std::string solver_text(const Digits& digits, int batch, const std::string& more) {
  return solver_of(smooth_net(digits.train, digits.test, batch), more);
}

// LeNet, with a smaller ip1.
std::string lenet(const std::string& db, int batch) {
  const auto layer = [](const std::string& name, const std::string& type, const std::string& bottom,
                        const std::string& settings) {
    return "layer { name: '" + name + "' type: '" + type + "' bottom: '" + bottom + "' top: '" +
           name + "' " + settings + " }\n";
  };
  const std::string filler = " weight_filler { type: 'xavier' } bias_filler { type: 'constant' } }";
  const std::string pool = "pooling_param { pool: MAX kernel_size: 2 stride: 2 }";
  return concat(
             "name: 'lenet' layer { name: 'data' type: 'Data' top: 'data' top: 'label' "
             "transform_param { scale: "
             "0.00390625 } data_param { source: '",
             db, "' backend: LMDB batch_size: ", batch, " } }\n") +
         layer("conv1", "Convolution", "data",
               "convolution_param { num_output: 20 kernel_size: 5" + filler) +
         layer("pool1", "Pooling", "conv1", pool) +
         layer("conv2", "Convolution", "pool1",
               "convolution_param { num_output: 50 kernel_size: 5" + filler) +
         layer("pool2", "Pooling", "conv2", pool) +
         layer("ip1", "InnerProduct", "pool2", "inner_product_param { num_output: 50" + filler) +
         "layer { name: 'relu1' type: 'ReLU' bottom: 'ip1' top: 'ip1' }\n" +
         layer("ip2", "InnerProduct", "ip1", "inner_product_param { num_output: 10" + filler) +
         "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip2' bottom: 'label' top: 'loss' "
         "}\n";
}

const char* const kMomentum = "base_lr: 0.05 momentum: 0.9 weight_decay: 0.001";
// Then a state's history is the gradient itself.
const char* const kGradientsOnly = "base_lr: 1 momentum: 0 weight_decay: 0";

std::string file(const Digits& digits, int world, int rank, int64_t iter,
                 const std::string& suffix) {
  return digits.scratch.path(concat("n", world, "_r", rank, "_i", iter, suffix));
}

void save(caffe_solver* solver, const Digits& digits, int world, int rank) {
  const int64_t iter = caffe_solver_iter(solver);
  const std::string model = file(digits, world, rank, iter, ".caffemodel");
  must(caffe_solver_snapshot(solver, model.c_str(),
                             file(digits, world, rank, iter, ".solverstate").c_str(),
                             model.c_str()));
}

// Trains `steps` iterations on `world` processes and saves every `every`-th: rank 0, or each rank
// its own files.
void train(const Digits& digits, const std::string& solver, int world, int steps, int every,
           const std::string& options = "", bool all_ranks = false,
           const std::string& comm_options = "") {
  const auto ends = run_processes(world, [&](const Rank& rank) {
    const bool saves = rank.rank == 0 || all_ranks;
    const SolverHandle handle = make_solver(solver, rank.options + options);
    const CommHandle comm = rank.connect_with(caffe_solver_config_hash(handle.get()), comm_options);
    if (world > 1) must(caffe_solver_set_comm(handle.get(), comm.get()));
    if (saves) save(handle.get(), digits, world, rank.rank);
    for (int i = 0; i < steps; i += every) {
      if (saves) must(caffe_solver_keep_state(handle.get()));
      must(caffe_solver_step(handle.get(), every, nullptr));
      if (saves) save(handle.get(), digits, world, rank.rank);
    }
  });
  ASSERT_THAT(ends, Each(""));
}

std::vector<std::vector<float>> weights_of(const std::string& model) {
  NetParameter net;
  if (!net.ParseFromString(read_file(model))) throw std::runtime_error(model + " is no model");
  std::vector<std::vector<float>> all;
  for (const LayerParameter& layer : net.layer()) {
    for (const BlobProto& blob : layer.blobs())
      all.emplace_back(blob.data().begin(), blob.data().end());
  }
  return all;
}

std::vector<std::vector<float>> history_of(const std::string& path) {
  SolverState state;
  if (!state.ParseFromString(read_file(path))) throw std::runtime_error(path + " is no state");
  std::vector<std::vector<float>> all;
  for (const BlobProto& blob : state.history())
    all.emplace_back(blob.data().begin(), blob.data().end());
  return all;
}

// The largest of max|a - b| / max|b| over the blobs.
double distance(const std::vector<std::vector<float>>& a,
                const std::vector<std::vector<float>>& b) {
  if (a.size() != b.size() || a.empty()) return INFINITY;
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) return INFINITY;
    double difference = 0, largest = 1e-30;
    for (size_t j = 0; j < a[i].size(); ++j) {
      difference = std::max(difference, std::abs(static_cast<double>(a[i][j]) - b[i][j]));
      largest = std::max(largest, std::abs(static_cast<double>(b[i][j])));
    }
    worst = std::max(worst, difference / largest);
  }
  return worst;
}

class Equality : public ::testing::TestWithParam<int> {};

// How far, at each of some steps, the averaged gradient is from that of one worker with an N times
// larger batch.
double distance_of_gradients(int world, int steps, const std::string& options) {
  const int batch = 32;
  const Digits digits;
  const std::string records = digits.scratch.golden("e2e_digits/digits_train_lmdb");
  train(digits, solver_of(lenet(records, batch), "base_lr: 0.05 momentum: 0 weight_decay: 0"),
        world, steps, 1, options);
  const std::string single = solver_of(lenet(records, batch * world), kGradientsOnly);
  double worst = 0;
  for (int i = 0; i < steps; ++i) {
    const SolverHandle one = make_solver(
        single, "threads=1\ncontinue_data=1\nstate=" + file(digits, world, 0, i, ".solverstate") +
                    "\n" + options);
    must(caffe_solver_step(one.get(), 1, nullptr));
    const std::string state = digits.scratch.path("one.solverstate");
    must(caffe_solver_snapshot(one.get(), digits.scratch.path("one.caffemodel").c_str(),
                               state.c_str(), "x"));
    std::vector<std::vector<float>> averaged =
        history_of(file(digits, world, 0, i + 1, ".solverstate"));
    for (auto& blob : averaged) {
      for (float& value : blob) value /= 0.05f;
    }
    worst = std::max(worst, distance(averaged, history_of(state)));
  }
  return worst;
}

// (a)
TEST_P(Equality, GradientsAreThoseOfOneLargerBatch) {
  EXPECT_LE(distance_of_gradients(GetParam(), 100, ""), 1e-5);
}

// What is rounded is a picture's own, but for the number of pictures that a loss is divided by:
// where that is no power of two, all gradients of images are rounded elsewhere, by 2^-9 each time.
TEST_P(Equality, GradientsInBf16AreThoseOfOneLargerBatch) {
  if (!has_bf16()) GTEST_SKIP() << "this processor does not compute in bf16";
  const bool exact = std::has_single_bit(static_cast<unsigned>(GetParam()));
  EXPECT_LE(distance_of_gradients(GetParam(), 20, "precision=bf16\n"), exact ? 1e-5 : 1e-2);
}

// (c) So on a smooth net whole trajectories stay together.
TEST_P(Equality, TrajectoriesStayTogether) {
  const int world = GetParam();
  const Digits digits;
  train(digits, solver_text(digits, kBatch, kMomentum), world, 100, 100);
  train(digits, solver_text(digits, kBatch * world, kMomentum), 1, 100, 100);
  EXPECT_LE(distance(weights_of(file(digits, world, 0, 100, ".caffemodel")),
                     weights_of(file(digits, 1, 0, 100, ".caffemodel"))),
            1e-4);
}

TEST_P(Equality, AllRanksHoldTheSameBits) {
  const int world = GetParam();
  const Digits digits;
  train(digits, solver_text(digits, kBatch, kMomentum), world, 30, 10, "shuffle=1\n", true);
  for (int iter = 0; iter <= 30; iter += 10) {
    for (int rank = 1; rank < world; ++rank) {
      EXPECT_TRUE(read_file(file(digits, world, 0, iter, ".caffemodel")) ==
                  read_file(file(digits, world, rank, iter, ".caffemodel")));
      EXPECT_EQ(history_of(file(digits, world, 0, iter, ".solverstate")),
                history_of(file(digits, world, rank, iter, ".solverstate")));
    }
  }
}

TEST_P(Equality, AllRanksHoldTheSameBitsWithBf16OnTheWire) {
  const int world = GetParam();
  const Digits digits;
  const std::string records = digits.scratch.golden("e2e_digits/digits_train_lmdb");
  train(digits, solver_of(lenet(records, 8), kMomentum), world, 10, 10, "", true, "wire=bf16\n");
  for (int rank = 1; rank < world; ++rank) {
    EXPECT_EQ(weights_of(file(digits, world, 0, 10, ".caffemodel")),
              weights_of(file(digits, world, rank, 10, ".caffemodel")));
    EXPECT_EQ(history_of(file(digits, world, 0, 10, ".solverstate")),
              history_of(file(digits, world, rank, 10, ".solverstate")));
  }
}

class SharedUpdates : public ::testing::TestWithParam<int> {};

// Where gradients are clipped every rank updates all weights, by sums of all gradients; a limit
// that is never reached changes no bit. Of the sums some are small, some have a ring, and with four
// ranks some are halved.
TEST_P(SharedUpdates, GiveTheBitsOfUpdatesByAll) {
  const int world = GetParam();
  const Digits shared, whole;
  const std::string records = shared.scratch.golden("e2e_digits/digits_train_lmdb");
  // Adam has two kinds of history.
  for (const std::string solver : {"momentum: 0.9", "type: 'Adam' momentum2: 0.999"}) {
    const std::string settings = "base_lr: 0.01 weight_decay: 0.001 " + solver;
    train(shared, solver_of(lenet(records, 4), settings), world, 10, 5, "", true);
    train(whole, solver_of(lenet(records, 4), settings + " clip_gradients: 1e30"), world, 10, 5);
    for (int rank = 0; rank < world; ++rank) {
      EXPECT_EQ(weights_of(file(shared, world, rank, 10, ".caffemodel")),
                weights_of(file(whole, world, 0, 10, ".caffemodel")));
      EXPECT_EQ(history_of(file(shared, world, rank, 10, ".solverstate")),
                history_of(file(whole, world, 0, 10, ".solverstate")));
    }
  }
}

// Rank 0 alone looks at the clock: the others take part wherever they are in their own steps.
TEST_P(SharedUpdates, LeaveAWholeStateWhereOneRankAsksForIt) {
  const int world = GetParam();
  const Digits digits, other;
  const std::string text =
      solver_of(lenet(digits.scratch.golden("e2e_digits/digits_train_lmdb"), kBatch), kMomentum);
  const auto ends = run_processes(world, [&](const Rank& rank) {
    const SolverHandle handle = make_solver(text, rank.options);
    const CommHandle comm = join(rank, handle.get());
    if (rank.rank == 0) {
      must(caffe_solver_keep_state(handle.get()));
      must(caffe_solver_step(handle.get(), 3, nullptr));
      save(handle.get(), digits, world, 0);
      must(caffe_solver_step(handle.get(), 4, nullptr));
      const int status = caffe_solver_snapshot(handle.get(), digits.scratch.path("m").c_str(),
                                               digits.scratch.path("s").c_str(), "m");
      if (status == CAFFE_OK) throw std::runtime_error("a state in parts");
      const std::string error = caffe_last_error();
      if (error.find("keep_state before the last") == std::string::npos)
        throw std::runtime_error(error);
      must(caffe_solver_snapshot(handle.get(), digits.scratch.path("m").c_str(), nullptr, nullptr));
    } else {
      must(caffe_solver_step(handle.get(), 7, nullptr));
    }
  });
  ASSERT_THAT(ends, Each(""));
  train(other, text + " clip_gradients: 1e30", world, 3, 3);
  EXPECT_EQ(history_of(file(digits, world, 0, 3, ".solverstate")),
            history_of(file(other, world, 0, 3, ".solverstate")));
}

INSTANTIATE_TEST_SUITE_P(Worlds, SharedUpdates, ::testing::Values(2, 3, 4, 5),
                         [](const auto& info) { return concat("N", info.param); });

// bf16 has 8 significant bits, and a number is rounded once a hop.
TEST_P(Equality, Bf16OnTheWireRoundsGradientsAndNothingElse) {
  const int world = GetParam();
  const Digits digits;
  const std::string records = digits.scratch.golden("e2e_digits/digits_train_lmdb");
  const std::string text = solver_of(lenet(records, 8), kGradientsOnly);
  const auto gradients = [&](const std::string& wire) {
    train(digits, text, world, 1, 1, "", false, wire);
    return history_of(file(digits, world, 0, 1, ".solverstate"));
  };
  const std::vector<std::vector<float>> exact = gradients(""), rounded = gradients("wire=bf16\n");
  EXPECT_LE(distance(rounded, exact), world / 256.0);
  EXPECT_EQ(rounded == exact, world == 1);
}

// Ranks that start from different weights train rank 0's.
TEST_P(Equality, StartsFromTheWeightsOfRankZero) {
  const int world = GetParam();
  const Digits digits;
  const auto ends = run_processes(world, [&](const Rank& rank) {
    const SolverHandle handle = make_solver(solver_text(digits, kBatch, kMomentum),
                                            rank.options + concat("seed=", rank.rank));
    const CommHandle comm = join(rank, handle.get());
    save(handle.get(), digits, world, rank.rank);
  });
  ASSERT_THAT(ends, Each(""));
  const std::string first = read_file(file(digits, world, 0, 0, ".caffemodel"));
  for (int rank = 1; rank < world; ++rank)
    EXPECT_TRUE(first == read_file(file(digits, world, rank, 0, ".caffemodel")));
}

TEST_P(Equality, ValidationIsSharedOverTheRanks) {
  const int world = GetParam();
  const Digits digits;
  const std::string text =
      solver_text(digits, kBatch, std::string(kMomentum) + " test_iter: 5 test_interval: 1000");
  // Two rounds: the second goes on where the first ended.
  const auto outputs = [&](int ranks) {
    const std::string path = digits.scratch.path(concat("outputs", ranks));
    const auto ends = run_processes(ranks, [&](const Rank& rank) {
      const SolverHandle handle = make_solver(text, rank.options);
      const CommHandle comm = rank.connect(caffe_solver_config_hash(handle.get()));
      if (ranks > 1) must(caffe_solver_set_comm(handle.get(), comm.get()));
      std::string all;
      for (int round = 0; round < 2; ++round) {
        caffe_outputs* raw = nullptr;
        must(caffe_solver_test(handle.get(), 0, &raw));
        const OutputsHandle values(raw);
        for (size_t i = 0; i < caffe_outputs_size(raw); ++i) {
          all.append(reinterpret_cast<const char*>(caffe_outputs_values(raw, i)), sizeof(float));
        }
      }
      write_file(path + "_" + std::to_string(rank.rank), all);
    });
    EXPECT_THAT(ends, Each(""));
    for (int rank = 1; rank < ranks; ++rank) {
      EXPECT_TRUE(read_file(path + "_0") == read_file(path + "_" + std::to_string(rank)));
    }
    const std::string bytes = read_file(path + "_0");
    const auto* values = reinterpret_cast<const float*>(bytes.data());
    return std::vector<float>(values, values + bytes.size() / sizeof(float));
  };
  const std::vector<float> one = outputs(1), many = outputs(world);
  ASSERT_EQ(one.size(), 4u);
  ASSERT_EQ(many.size(), 4u);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(one[i], many[i], 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Worlds, Equality, ::testing::Values(1, 2, 3),
                         [](const auto& info) { return concat("N", info.param); });

// (b) Two processes do, bit for bit, what one process does that runs the two batches in turn and
// averages.
TEST(EqualityOfBits, TwoProcessesAreOneThatTakesTurns) {
  const Digits digits;
  const std::string text = solver_text(digits, kBatch, kMomentum);
  train(digits, text, 2, 50, 50);

  omp_set_num_threads(1);
  const SolverParameter param = parse_solver(text, "test");
  Solver solver(param, SolverOptions());
  std::vector<std::unique_ptr<Net>> nets;
  for (int rank = 0; rank < 2; ++rank) {
    NetOptions options;
    options.phase = TRAIN;
    options.rank = rank;
    options.world = 2;
    nets.push_back(std::make_unique<Net>(param.net_param(), options));
    nets.back()->share_trained_with(solver.net());
  }
  for (int i = 0; i < 50; ++i) {
    std::vector<std::vector<float>> sums;
    for (const auto& net : nets) {
      net->clear_parameter_diffs();
      net->set_pass(i);
      net->forward();
      net->backward();
      for (size_t p = 0; p < net->parameters().size(); ++p) {
        const Blob& blob = *net->parameters()[p].blob;
        if (sums.size() == p) sums.emplace_back(static_cast<size_t>(blob.count()));
        for (int64_t j = 0; j < blob.count(); ++j)
          sums[p][static_cast<size_t>(j)] += blob.diff_as<float>()[j];
      }
    }
    for (size_t p = 0; p < sums.size(); ++p) {
      const Blob& blob = *solver.net().parameters()[p].blob;
      std::transform(sums[p].begin(), sums[p].end(), blob.overwrite_diff<float>(),
                     [](float sum) { return sum * 0.5f; });
    }
    solver.apply_update();
  }
  const std::string model = digits.scratch.path("turns.caffemodel");
  solver.write_snapshot(model, digits.scratch.path("turns.solverstate"), model);
  EXPECT_EQ(weights_of(model), weights_of(file(digits, 2, 0, 50, ".caffemodel")));
  EXPECT_EQ(history_of(digits.scratch.path("turns.solverstate")),
            history_of(file(digits, 2, 0, 50, ".solverstate")));
}

}  // namespace
}  // namespace caffe::testing
