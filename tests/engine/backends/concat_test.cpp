#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

std::string convolution(const std::string& bottom, const std::string& top, int outputs) {
  return "layer { name: '" + top + "' type: 'Convolution' bottom: '" + bottom + "' top: '" + top +
         "' convolution_param { num_output: " + std::to_string(outputs) + " kernel_size: 3 } }";
}
const std::map<std::string, Shape> kInput = {{"x", {2, 5, 8, 9}}, {"z", {2, 5, 8, 9}}};

// Widths that are, and are not, whole blocks of a layout.
TEST(OnednnConcat, EqualsPortableInBlockedLayouts) {
  for (const int width : {16, 8, 5}) {
    const std::string text = convolution("x", "a", 2 * width) + convolution("z", "b", width) +
                             "layer { name: 'k' type: 'Concat' bottom: 'a' bottom: 'b' top: 'k' }" +
                             convolution("k", "y", 16);
    expect_equal_to_portable(text, kInput, {"y"});
    expect_equal_to_portable(text, kInput, {"y"}, {.no_gradient = {"a"}});
    expect_equal_to_portable(text, kInput, {"y"}, {.phase = TEST, .backward = false});
  }
}

TEST(OnednnConcat, EqualsPortableAlongOtherAxes) {
  for (const char* axis : {"0", "2", "-1"}) {
    expect_equal_to_portable(
        "layer { name: 'k' type: 'Concat' bottom: 'x' bottom: 'z' top: 'y' "
        "concat_param { axis: " +
            std::string(axis) + " } }",
        {{"x", {2, 3, 4, 5}}, {"z", {2, 3, 4, 5}}}, {"y"});
  }
  expect_equal_to_portable("layer { name: 'k' type: 'Concat' bottom: 'x' bottom: 'z' top: 'y' }",
                           {{"x", {3, 4}}, {"z", {3, 7}}}, {"y"});
}

TEST(OnednnConcat, StaysInTheLayoutOfItsBottoms) {
  SmallNet net(convolution("x", "a", 32) + convolution("z", "b", 16) +
                   "layer { name: 'k' type: 'Concat' bottom: 'a' bottom: 'b' top: 'k' }",
               kInput, {.backend = "onednn"});
  net.forward();
  EXPECT_NE(net.blob("k").data().current(), 0);
  EXPECT_EQ(net.blob("a").data().bytes(), static_cast<size_t>(net.blob("a").count()) * 4)
      << "no plain copy beside the blocked one";
}

TEST(OnednnSlice, EqualsPortable) {
  const std::string cut =
      "layer { name: 's' type: 'Slice' bottom: 'a' top: 'p' top: 'q' slice_param { slice_point: ";
  for (const char* point : {"16 } }", "32 } }", "7 } }"}) {
    const std::string text = convolution("x", "a", 48) + cut + point + convolution("p", "y", 16);
    expect_equal_to_portable(text, kInput, {"y", "q"});
    expect_equal_to_portable(text, kInput, {"y", "q"}, {.phase = TEST, .backward = false});
  }
  expect_equal_to_portable(
      "layer { name: 's' type: 'Slice' bottom: 'x' top: 'p' top: 'q' top: 'r' "
      "slice_param { axis: 2 } }",
      {{"x", {2, 3, 6, 2}}}, {"p", "q", "r"});
}

TEST(OnednnConcat, RefusesWhatSharesItsMemory) {
  EXPECT_EQ(refusal("layer { name: 'k' type: 'Concat' bottom: 'x' top: 'y' }", kInput),
            "one bottom shares its memory with the top");
  EXPECT_EQ(refusal("layer { name: 'k' type: 'Slice' bottom: 'x' top: 'y' }", kInput),
            "one top shares its memory with the bottom");
}

}  // namespace
}  // namespace caffe::testing
