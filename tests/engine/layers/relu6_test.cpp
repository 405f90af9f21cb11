#include <gtest/gtest.h>

#include "engine/layers/shaped_fixture.h"

namespace caffe::testing {
namespace {

TEST(ReLU6, CutsAtZeroAndSixAndHasNoGradientThere) {
  for (const std::string top : {"y", "x"}) {
    LayerFixture f("type: 'ReLU6' name: 'tested' bottom: 'x' top: '" + top + "'");
    f.bottom_shaped("x", {6});
    f.set_up();
    set_data<float>(*f.bottom[0], std::vector<float>{-7, 0, 0.5f, 5.5f, 6, 9});
    f.forward();
    const float* y = f.top[0]->data_as<float>();
    EXPECT_EQ(std::vector<float>(y, y + 6), (std::vector<float>{0, 0, 0.5f, 5.5f, 6, 6})) << top;
    set_diff<float>(*f.top[0], std::vector<float>{1, 2, 3, 4, 5, 6});
    f.backward({true});
    const float* dx = f.bottom[0]->diff_as<float>();
    EXPECT_EQ(std::vector<float>(dx, dx + 6), (std::vector<float>{0, 0, 3, 4, 0, 0})) << top;
  }
}

TEST(Axpy, AddsPlanesTimesTheirFactors) {
  LayerFixture f("type: 'Axpy' name: 'tested' bottom: 'a' bottom: 'x' bottom: 'z' top: 'y'");
  f.bottom_shaped("a", {1, 2, 1, 1});
  f.bottom_shaped("x", {1, 2, 1, 2});
  f.bottom_shaped("z", {1, 2, 1, 2});
  f.set_up();
  set_data<float>(*f.bottom[0], std::vector<float>{2, -1});
  set_data<float>(*f.bottom[1], std::vector<float>{1, 2, 3, 4});
  set_data<float>(*f.bottom[2], std::vector<float>{10, 20, 30, 40});
  f.forward();
  const float* y = f.top[0]->data_as<float>();
  EXPECT_EQ(std::vector<float>(y, y + 4), (std::vector<float>{12, 24, 27, 36}));
}

}  // namespace
}  // namespace caffe::testing
