#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

// A blob in a convolution's layout, read `readers` times.
std::string split(int readers) {
  std::string text =
      "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { num_output: "
      "21 kernel_size: 3 } } layer { name: 's' type: 'Split' bottom: 'c'";
  for (int i = 0; i < readers; ++i) text += " top: 'y" + std::to_string(i) + "'";
  return text + " }";
}
const std::map<std::string, Shape> kInput = {{"x", {2, 3, 8, 9}}};

TEST(OnednnSplit, AddsTheGradients) {
  for (const bool unobserved : {false, true}) {
    const SmallNet::Options options = {.unobserved = unobserved};
    expect_equal_to_portable(split(1), kInput, {"y0"}, options);
    expect_equal_to_portable(split(2), kInput, {"y0", "y1"}, options);
    expect_equal_to_portable(split(4), kInput, {"y0", "y1", "y2", "y3"}, options);
  }
}

TEST(OnednnSplit, ReadersWithoutGradientCountAsZero) {
  for (const bool unobserved : {false, true}) {
    for (const std::vector<const char*>& given :
         {std::vector<const char*>{}, {"y1"}, {"y1", "y2"}}) {
      SmallNet net(split(3), kInput, {.backend = "onednn", .unobserved = unobserved});
      SmallNet oracle(split(3), kInput, {.dtype = DType::kF64});
      for (SmallNet* each : {&net, &oracle}) {
        each->clear_gradients();
        each->forward();
        for (const char* top : given) each->set_gradient(top, 5);
        each->backward();
      }
      expect_near(net.gradient("x"), oracle.gradient("x"), "gradient of x");
    }
  }
}

TEST(OnednnSplit, ObservedGradientsAreKept) {
  SmallNet net(split(2), kInput, {.backend = "onednn"});
  net.forward();
  net.set_gradient("y0", 1);
  net.set_gradient("y1", 2);
  const std::vector<double> before = net.gradient("y0");
  net.backward();
  EXPECT_EQ(net.gradient("y0"), before);
}

}  // namespace
}  // namespace caffe::testing
