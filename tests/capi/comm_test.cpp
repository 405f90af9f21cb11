#include <gmock/gmock.h>

#include "capi/group.h"

namespace caffe::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

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

TEST(Comm, TellsAllRanksThatOneWasCancelled) {
  const Digits digits;
  const auto ends = run_processes(2, [&](const Rank& rank) {
    const SolverHandle solver = make_solver(tiny_solver(digits), rank.options);
    const CommHandle comm = rank.connect(caffe_solver_config_hash(solver.get()));
    must(caffe_solver_set_comm(solver.get(), comm.get()));
    must(caffe_solver_step(solver.get(), 5, nullptr));
    if (rank.rank == 1) caffe_solver_cancel(solver.get());
    must(caffe_solver_step(solver.get(), 1'000'000, nullptr));
  });
  EXPECT_THAT(ends[0], AllOf(HasSubstr("status 4"), HasSubstr("cancelled")));
  EXPECT_THAT(ends[1], HasSubstr("status 5"));
}

TEST(Comm, RefusesRanksThatDoNotExist) {
  caffe_comm* comm = nullptr;
  must(caffe_comm_create("127.0.0.1", &comm));
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
  EXPECT_NE(caffe_comm_create("no-such-device0", &comm), CAFFE_OK);
  EXPECT_THAT(caffe_last_error(), HasSubstr("no-such-device0"));
}

}  // namespace
}  // namespace caffe::testing
