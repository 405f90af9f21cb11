#include "core/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/buffer.h"
#include "support/error_of.h"

namespace caffe {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

int64_t installed() {
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
}

TEST(Memory, SomeIsAvailable) {
  EXPECT_GT(available_memory(), 1 << 20);
  EXPECT_NO_THROW(require_memory(1 << 20, "this test"));
}

TEST(Memory, WhatDoesNotFitIsNamedBeforeItIsTouched) {
  EXPECT_THAT(error_of([] { require_memory(int64_t{1} << 60, "the model x.h5"); }),
              HasSubstr("the model x.h5 needs 1099511627776 MiB"));
}

TEST(Memory, ABlobThatDoesNotFitIsAnError) {
  Buffer buffer(DType::kF32);
  buffer.resize(installed());  // four times too large
  EXPECT_THAT(error_of([&] { buffer.write(); }), HasSubstr("a blob needs"));
}

TEST(Memory, ShapesThatCannotBeCountedAreNamed) {
  const int64_t huge = int64_t{1} << 40;
  EXPECT_NO_THROW(require_countable({}, "x"));
  EXPECT_NO_THROW(require_countable({huge, huge, 0}, "x"));
  EXPECT_NO_THROW(require_countable({huge, 1 << 19}, "x"));
  EXPECT_THAT(error_of([=] {
                require_countable({huge, huge}, "blob a");
              }),
              HasSubstr("blob a cannot have the shape 1099511627776 1099511627776 (too many"));
  EXPECT_THAT(error_of([] { require_countable({2, -3}, "blob a"); }), HasSubstr("2 -3"));
}

}  // namespace
}  // namespace caffe
