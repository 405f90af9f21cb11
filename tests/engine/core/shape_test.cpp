#include "core/shape.h"

#include <gtest/gtest.h>

namespace caffe {
namespace {

TEST(Shape, CountsItsElements) {
  EXPECT_EQ(Shape().count(), 1);
  EXPECT_EQ((Shape{2, 3, 4}).count(), 24);
  EXPECT_EQ((Shape{2, 3, 4}).count(1, 2), 3);
  EXPECT_EQ((Shape{int64_t{1} << 31, int64_t{1} << 31}).count(), int64_t{1} << 62);
}

TEST(Shape, MoreElementsThanCanBeCountedAreAnError) {
  const Shape shape{int64_t{1} << 40, int64_t{1} << 40};
  EXPECT_THROW(shape.count(), Error);
  EXPECT_EQ(shape.count(1), int64_t{1} << 40);
  EXPECT_EQ(shape.str(), "1099511627776 1099511627776 (too many)");
}

}  // namespace
}  // namespace caffe
