#include "core/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/blob.h"

namespace caffe {
namespace {

// The array backwards, with one number of padding in front.
class Reversed : public Layout {
 public:
  explicit Reversed(int64_t count) : count_(count) {}
  size_t bytes() const override { return static_cast<size_t>(count_ + 1) * sizeof(float); }
  std::string name() const override { return "reversed"; }
  bool same(const Layout& other) const override {
    const auto* reversed = dynamic_cast<const Reversed*>(&other);
    return reversed != nullptr && reversed->count_ == count_;
  }
  void to_plain(const void* source, void* plain) const override {
    const float* from = static_cast<const float*>(source) + 1;
    std::reverse_copy(from, from + count_, static_cast<float*>(plain));
  }
  void from_plain(const void* plain, void* destination) const override {
    const float* from = static_cast<const float*>(plain);
    float* to = static_cast<float*>(destination);
    to[0] = 0;
    std::reverse_copy(from, from + count_, to + 1);
  }

 private:
  int64_t count_;
};

std::vector<float> plain(Buffer& buffer) {
  const float* data = static_cast<const float*>(buffer.read());
  return std::vector<float>(data, data + buffer.count());
}

void set(Buffer& buffer, const std::vector<float>& values) {
  std::copy(values.begin(), values.end(), static_cast<float*>(buffer.write()));
}

class BufferTest : public ::testing::Test {
 protected:
  BufferTest() {
    buffer_.resize(3);
    reversed_ = buffer_.representation(std::make_shared<Reversed>(3));
  }
  float at(int i) { return static_cast<const float*>(buffer_.read(reversed_))[i + 1]; }
  void set_reversed(const std::vector<float>& values) {
    std::copy(values.begin(), values.end(), static_cast<float*>(buffer_.write(reversed_)) + 1);
  }
  Buffer buffer_;
  int reversed_ = 0;
};

TEST_F(BufferTest, IsZeroAtFirst) {
  EXPECT_TRUE(buffer_.is_zero());
  EXPECT_EQ(plain(buffer_), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(at(0), 0);
}

TEST_F(BufferTest, ConvertsOnDemandInBothDirections) {
  set(buffer_, {1, 2, 3});
  EXPECT_EQ(at(0), 3);
  set_reversed({4, 5, 6});
  EXPECT_EQ(plain(buffer_), (std::vector<float>{6, 5, 4}));
}

TEST_F(BufferTest, KeepsBothRepresentationsAfterReading) {
  set(buffer_, {1, 2, 3});
  EXPECT_EQ(at(2), 1);
  EXPECT_EQ(buffer_.current(), reversed_);
  EXPECT_EQ(plain(buffer_), (std::vector<float>{1, 2, 3}));
}

TEST_F(BufferTest, UpdateMakesTheOthersStale) {
  set(buffer_, {1, 2, 3});
  static_cast<float*>(buffer_.update(reversed_))[1] = 9;
  EXPECT_EQ(plain(buffer_), (std::vector<float>{1, 2, 9}));
}

TEST_F(BufferTest, SetZeroCostsNothingUntilRead) {
  set(buffer_, {1, 2, 3});
  buffer_.set_zero();
  EXPECT_TRUE(buffer_.is_zero());
  static_cast<float*>(buffer_.update())[1] += 5;
  EXPECT_FALSE(buffer_.is_zero());
  EXPECT_EQ(plain(buffer_), (std::vector<float>{0, 5, 0}));
}

// Whole numbers only.
class Rounded : public Layout {
 public:
  explicit Rounded(size_t count) : count_(count) {}
  size_t bytes() const override { return count_ * sizeof(float); }
  std::string name() const override { return "rounded"; }
  bool exact() const override { return false; }
  bool same(const Layout& other) const override { return other.name() == name(); }
  void to_plain(const void* source, void* plain) const override {
    std::memcpy(plain, source, bytes());
  }
  void from_plain(const void* plain, void* destination) const override {
    for (size_t i = 0; i < count_; ++i) {
      static_cast<float*>(destination)[i] = std::round(static_cast<const float*>(plain)[i]);
    }
  }

 private:
  size_t count_;
};

TEST_F(BufferTest, ReadsWhatIsExactBeforeWhatIsRounded) {
  const int rounded = buffer_.representation(std::make_shared<Rounded>(3));
  set_reversed({4.25F, 5.5F, 6.75F});
  EXPECT_EQ(static_cast<const float*>(buffer_.read(rounded))[0], 7);
  set_reversed({1.25F, 2.5F, 3.75F});
  buffer_.read(rounded);
  EXPECT_EQ(plain(buffer_), (std::vector<float>{3.75F, 2.5F, 1.25F}));
  static_cast<float*>(buffer_.write(rounded))[1] = 8;
  EXPECT_EQ(at(1), 8) << "what was written last counts, also if it is rounded";
}

// The same in another place, which remembers what it was converted from.
class RoundedElsewhere : public Rounded {
 public:
  using Rounded::Rounded;
  std::string name() const override { return "rounded elsewhere"; }
  bool convert_from(const Layout& other, const void* source, void* destination) const override {
    from_ = other.name();
    std::memcpy(destination, source, bytes());
    return true;
  }
  const std::string& from() const { return from_; }

 private:
  mutable std::string from_;
};

TEST_F(BufferTest, WhatIsRoundedComesFromWhatIs) {
  const int rounded = buffer_.representation(std::make_shared<Rounded>(3));
  const auto layout = std::make_shared<RoundedElsewhere>(3);
  const int elsewhere = buffer_.representation(layout);
  set_reversed({4.25F, 5.5F, 6.75F});
  buffer_.read(rounded);
  EXPECT_EQ(static_cast<const float*>(buffer_.read(elsewhere))[0], 7);
  EXPECT_EQ(layout->from(), "rounded");
  set_reversed({4.25F, 5.5F, 6.75F});
  buffer_.read(elsewhere);
  EXPECT_EQ(layout->from(), "reversed") << "nothing else is up to date";
}

TEST_F(BufferTest, TheMasterIsTheFirstLayoutThatIsExact) {
  EXPECT_EQ(buffer_.master(), reversed_);
  Buffer other;
  other.resize(3);
  const int rounded = other.representation(std::make_shared<Rounded>(3));
  EXPECT_EQ(other.preferred(), rounded);
  EXPECT_EQ(other.master(), 0);
}

TEST_F(BufferTest, FindsAnEqualLayoutAgain) {
  EXPECT_EQ(buffer_.representation(std::make_shared<Reversed>(3)), reversed_);
  EXPECT_NE(buffer_.representation(std::make_shared<Reversed>(4)), reversed_);
  EXPECT_EQ(buffer_.preferred(), reversed_);
}

TEST_F(BufferTest, ForgettingLayoutsKeepsTheContent) {
  set_reversed({4, 5, 6});
  buffer_.forget_layouts();
  EXPECT_EQ(plain(buffer_), (std::vector<float>{6, 5, 4}));
  EXPECT_EQ(buffer_.preferred(), 0);
}

TEST_F(BufferTest, ResizeToTheSameCountKeepsTheContent) {
  set(buffer_, {1, 2, 3});
  buffer_.resize(3);
  EXPECT_EQ(plain(buffer_), (std::vector<float>{1, 2, 3}));
}

TEST_F(BufferTest, BindMovesTheContent) {
  set_reversed({4, 5, 6});
  alignas(64) float arena[16] = {};
  buffer_.bind(reversed_, arena);
  EXPECT_EQ(arena[1], 4);
  arena[1] = 7;
  EXPECT_EQ(plain(buffer_), (std::vector<float>{6, 5, 7}));
}

TEST_F(BufferTest, APinnedViewSeesWhatAPassWrote) {
  set(buffer_, {1, 2, 3});
  const auto pin = buffer_.pin();
  const float* view = static_cast<const float*>(pin->storage->data());
  buffer_.begin_pass();
  set_reversed({4, 5, 6});
  buffer_.end_pass();
  EXPECT_EQ(view[0], 6);
}

TEST_F(BufferTest, APassSeesWhatTheHolderOfAPinWrote) {
  set(buffer_, {1, 2, 3});
  EXPECT_EQ(at(0), 3);
  const auto pin = buffer_.pin();
  static_cast<float*>(pin->storage->data())[2] = 8;
  buffer_.begin_pass();
  EXPECT_EQ(at(0), 8);
}

TEST_F(BufferTest, ZeroingIsSeenByTheHolderOfAPinAndByThePass) {
  set(buffer_, {1, 2, 3});
  const auto pin = buffer_.pin();
  const float* view = static_cast<const float*>(pin->storage->data());
  static_cast<float*>(pin->storage->data())[2] = 8;
  buffer_.begin_pass();
  buffer_.end_pass();
  buffer_.set_zero();
  EXPECT_EQ(view[2], 0);
  buffer_.begin_pass();
  EXPECT_EQ(static_cast<const float*>(buffer_.read())[2], 0);
}

TEST_F(BufferTest, WhatAHolderWroteCountsAfterThePinIsGone) {
  set(buffer_, {1, 2, 3});
  EXPECT_EQ(at(0), 3);
  {
    const auto pin = buffer_.pin();
    static_cast<float*>(pin->storage->data())[2] = 8;
  }
  buffer_.begin_pass();
  EXPECT_EQ(at(0), 8);
}

TEST_F(BufferTest, APinOutlivesAResize) {
  set(buffer_, {1, 2, 3});
  const auto pin = buffer_.pin();
  buffer_.resize(2);
  set(buffer_, {7, 7});
  const float* view = static_cast<const float*>(pin->storage->data());
  EXPECT_EQ(std::vector<float>(view, view + 3), (std::vector<float>{1, 2, 3}));
  EXPECT_FALSE(buffer_.pinned());
}

TEST_F(BufferTest, APinOfBoundMemoryGetsItsOwn) {
  alignas(64) float arena[16] = {1, 2, 3};
  set(buffer_, {4, 5, 6});
  buffer_.bind(0, arena);
  const auto pin = buffer_.pin();
  arena[0] = 99;
  EXPECT_EQ(static_cast<const float*>(pin->storage->data())[0], 4);
  EXPECT_EQ(plain(buffer_), (std::vector<float>{4, 5, 6}));
}

TEST(BlobTest, SharedBuffersShowTheSameNumbers) {
  const Blob a(Shape{2, 3});
  Blob b(Shape{6});
  b.share_data(a);
  a.overwrite_data<float>()[5] = 3;
  EXPECT_EQ(b.data_as<float>()[5], 3);
  EXPECT_NE(&a.diff(), &b.diff());
}

TEST(BlobTest, RefusesToShareOtherCountsOrPrecisions) {
  const Blob a(Shape{2, 3});
  Blob b(Shape{5});
  EXPECT_THROW(b.share_data(a), Error);
  EXPECT_THROW(a.data_as<double>(), Error);
}

}  // namespace
}  // namespace caffe
