#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

// Two bottoms in the convolutions' layout.
const std::string kBranches =
    "layer { name: 'a' type: 'Convolution' bottom: 'x' top: 'a' convolution_param { num_output: 19 "
    "kernel_size: 3 } }"
    "layer { name: 'b' type: 'Convolution' bottom: 'z' top: 'b' convolution_param { num_output: 19 "
    "kernel_size: 3 } }";
const std::map<std::string, Shape> kInputs = {{"x", {2, 5, 9, 8}}, {"z", {2, 5, 9, 8}}};

const char* const kTwo = "bottom: 'a' bottom: 'b'";
std::string relu(const std::string& bottom, const std::string& top) {
  return "layer { name: 'r' type: 'ReLU' bottom: '" + bottom + "' top: '" + top + "' }";
}

TEST(OnednnEltwise, SumEqualsPortable) {
  for (const bool unobserved : {false, true}) {
    const SmallNet::Options options = {.unobserved = unobserved};
    expect_equal_to_portable(kBranches + sum(kTwo, "y"), kInputs, {"y"}, options);
    expect_equal_to_portable(kBranches + sum(kTwo, "y", "coeff: 0.5 coeff: -2"), kInputs, {"y"},
                             options);
    expect_equal_to_portable(sum("bottom: 'x' bottom: 'y' bottom: 'z'", "t",
                                 "coeff: 1 coeff: 3 "
                                 "coeff: 1"),
                             {{"x", {3, 7}}, {"y", {3, 7}}, {"z", {3, 7}}}, {"t"}, options);
    expect_equal_to_portable(kBranches + sum(kTwo, "y"), kInputs, {"y"},
                             {.unobserved = unobserved, .no_gradient = {"a"}});
  }
  expect_equal_to_portable(kBranches + sum(kTwo, "y"), kInputs, {"y"},
                           {.phase = TEST, .backward = false});
}

TEST(OnednnEltwise, SumWithReluEqualsPortable) {
  const std::string in_place = kBranches + sum(kTwo, "y") + relu("y", "y");
  const std::string apart = kBranches + sum(kTwo, "s", "coeff: 2 coeff: 1") + relu("s", "y");
  for (const std::string& text : {in_place, apart}) {
    for (const bool unobserved : {false, true}) {
      expect_equal_to_portable(text, kInputs, {"y"}, {.fuse = true, .unobserved = unobserved});
      expect_equal_to_portable(text, kInputs, {"y"},
                               {.fuse = true, .unobserved = unobserved, .values = "integers"});
    }
  }
}

// In place the top's gradient is a bottom's.
TEST(OnednnEltwise, SumInPlace) {
  for (const char* param : {"operation: SUM", "coeff: 2 coeff: 0.5"}) {
    for (const char* top : {"a", "b"}) {
      for (const bool fuse : {false, true}) {
        expect_equal_to_portable(kBranches + sum(kTwo, top, param) + relu(top, top), kInputs, {top},
                                 {.fuse = fuse});
      }
    }
  }
}

TEST(OnednnEltwise, ObservedGradientOfTheTopIsKept) {
  const std::string text = kBranches + sum(kTwo, "y") + relu("y", "y");
  SmallNet net(text, kInputs, {.backend = "onednn", .fuse = true});
  SmallNet oracle(text, kInputs, {.dtype = DType::kF64});
  for (SmallNet* each : {&net, &oracle}) {
    each->forward();
    each->set_gradient("y", 3);
    each->backward();
  }
  expect_near(net.gradient("y"), oracle.gradient("y"), "gradient of y");
}

TEST(OnednnEltwise, RefusesOtherOperations) {
  EXPECT_EQ(refusal(sum("bottom: 'x' bottom: 'z'", "y", "operation: MAX"), kInputs), "only SUM");
}

}  // namespace
}  // namespace caffe::testing
