#include <gmock/gmock.h>

#include "capi/group.h"
#include "core/error.h"
#include "data/record_writer.h"
#include "proto/caffe.pb.h"

namespace caffe::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

std::string tiny_solver(const Digits& digits) {
  return with_net("base_lr: 0.1 lr_policy: 'fixed' random_seed: 1 max_iter: 100 solver_mode: CPU",
                  smooth_net(digits.train, digits.test, 4));
}

TEST(Comm, NamesTheRankWhoseConfigurationDiffers) {
  const auto ends =
      run_processes(2, [](const Rank& rank) { rank.connect(rank.rank == 0 ? 1 : 2); });
  EXPECT_THAT(ends, Each(HasSubstr("status " + std::to_string(CAFFE_COMMUNICATION))));
  EXPECT_THAT(ends[0], HasSubstr("rank 1"));
}

TEST(Comm, RefusesRanksOfWhichOneSharesNoMemory) {
  const auto ends = run_processes(
      2, [](const Rank& rank) { rank.connect_with(1, rank.rank == 0 ? "share_memory=0" : ""); });
  EXPECT_THAT(ends, Each(HasSubstr("'tcp without shared memory'")));
}

TEST(Comm, MustFitTheSolver) {
  const Digits digits;
  const auto ends = run_processes(2, [&](const Rank& rank) {
    const SolverHandle solver = make_solver(tiny_solver(digits));  // rank 0 of 1
    const CommHandle comm = rank.connect(1);
    must(caffe_solver_set_comm(solver.get(), comm.get()));
  });
  EXPECT_THAT(ends[1],
              AllOf(HasSubstr("status 1"), HasSubstr("rank 1 of 2"), HasSubstr("rank 0 of 1")));
}

TEST(Comm, IsJoinedOnce) {
  const Digits digits;
  const auto ends = run_processes(2, [&](const Rank& rank) {
    const SolverHandle solver = make_solver(tiny_solver(digits), rank.options);
    const CommHandle comm = join(rank, solver.get());
    must(caffe_solver_step(solver.get(), 1, nullptr));
    if (caffe_solver_set_comm(solver.get(), comm.get()) != CAFFE_INVALID_ARGUMENT)
      throw std::runtime_error("joined again");
    must(caffe_solver_step(solver.get(), 1, nullptr));
  });
  EXPECT_THAT(ends, Each(""));
}

TEST(Comm, TellsAllRanksThatOneWasCancelled) {
  const Digits digits;
  const auto ends = run_processes(2, [&](const Rank& rank) {
    const SolverHandle solver = make_solver(tiny_solver(digits), rank.options);
    const CommHandle comm = join(rank, solver.get());
    must(caffe_solver_step(solver.get(), 5, nullptr));
    if (rank.rank == 1) caffe_solver_cancel(solver.get());
    must(caffe_solver_step(solver.get(), 1'000'000, nullptr));
  });
  EXPECT_THAT(ends[0], AllOf(HasSubstr("status 4"), HasSubstr("cancelled")));
  EXPECT_THAT(ends[1], HasSubstr("status 5"));
}

TEST(Comm, RefusesRanksThatDoNotExist) {
  caffe_comm* comm = nullptr;
  must(caffe_comm_create("interface=127.0.0.1", &comm));
  const CommHandle handle(comm);
  const char* addresses[] = {caffe_comm_address(comm)};
  const uint8_t secret[32] = {};
  EXPECT_EQ(caffe_comm_connect(comm, 1, 1, addresses, secret, 32, "x", 0, 1000),
            CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("rank 1 among 1"));
  EXPECT_EQ(caffe_comm_connect(comm, 0, 1, addresses, secret, 32, "x", 0, 0),
            CAFFE_INVALID_ARGUMENT);
}

TEST(Comm, NamesTheInterfaceItCannotUse) {
  caffe_comm* comm = nullptr;
  EXPECT_NE(caffe_comm_create("interface=no-such-device0", &comm), CAFFE_OK);
  EXPECT_THAT(caffe_last_error(), HasSubstr("no-such-device0"));
}

TEST(Comm, NamesTheOptionItDoesNotUnderstand) {
  caffe_comm* comm = nullptr;
  const auto error = [&](const char* options) {
    EXPECT_EQ(caffe_comm_create(options, &comm), CAFFE_INVALID_ARGUMENT) << options;
    return std::string(caffe_last_error());
  };
  EXPECT_THAT(error("wire=fp8"), HasSubstr("'wire' is 'fp8'; use float32 or bf16"));
  EXPECT_THAT(error("heartbeat_ms=0"), HasSubstr("'heartbeat_ms' is '0'"));
  EXPECT_THAT(error("speed=fast"), HasSubstr("unknown option 'speed'"));
  EXPECT_THAT(error("transport=pigeons"), HasSubstr("pigeons"));
}

// Records like those of the digits; the last label is none of the ten.
std::string broken_records(const Digits& digits) {
  const std::string path = digits.scratch.path("broken");
  const auto writer = create_records("LMDB", path);
  for (int i = 0; i < 40; ++i) {
    Datum datum;
    datum.set_channels(1);
    datum.set_height(28);
    datum.set_width(28);
    datum.set_data(std::string(28 * 28, static_cast<char>(i)));
    datum.set_label(i < 39 ? i % 10 : 77);
    writer->put(concat(10 + i), datum.SerializeAsString());
  }
  writer->finish();
  return path;
}

// The one that fails says what happened to it, the others that and where; nobody waits on.
TEST(Comm, TellsAllRanksTheCauseOfAnErrorWithinAnIteration) {
  const Digits digits;
  const std::string broken = broken_records(digits);
  const auto ends = run_processes(3, [&](const Rank& rank) {
    const std::string text =
        with_net("base_lr: 0.1 lr_policy: 'fixed' random_seed: 1 max_iter: 100 solver_mode: CPU",
                 smooth_net(rank.rank == 0 ? broken : digits.train, digits.test, 4));
    const SolverHandle solver = make_solver(text, rank.options);
    const CommHandle comm = join(rank, solver.get());
    must(caffe_solver_step(solver.get(), 1'000'000, nullptr));
  });
  EXPECT_THAT(ends[0], AllOf(HasSubstr("77"), Not(HasSubstr("rank"))));
  for (int rank = 1; rank < 3; ++rank) {
    EXPECT_THAT(ends[rank],
                AllOf(HasSubstr("status 4"), HasSubstr("rank 0 (127.0.0.1:"), HasSubstr("77")));
  }
}

}  // namespace
}  // namespace caffe::testing
