#include "io/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/error.h"
#include "io/snapshot.h"
#include "support/error_of.h"
#include "support/scratch.h"

namespace caffe {
namespace {

int entries(const std::string& folder) {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

TEST(WriteAtomically, ReplacesTheWholeFile) {
  const testing::Scratch scratch;
  write_file(scratch.path("f"), "first");
  write_file(scratch.path("f"), "second");
  EXPECT_EQ(read_file(scratch.path("f")), "second");
  EXPECT_EQ(entries(scratch.path()), 1);
}

// Of a link to it, so that only the link is lost where the check is.
TEST(WriteAtomically, RefusesADevice) {
  const testing::Scratch scratch;
  std::filesystem::create_symlink("/dev/null", scratch.path("f"));
  EXPECT_THAT(testing::error_of([&] { write_file(scratch.path("f"), "content"); }),
              ::testing::HasSubstr("it is a device"));
  EXPECT_TRUE(std::filesystem::is_symlink(scratch.path("f")));
}

TEST(WriteAtomically, LeavesTheOldFileWhereWritingFails) {
  const testing::Scratch scratch;
  write_file(scratch.path("f"), "first");
  EXPECT_THROW(write_atomically(scratch.path("f"),
                                [](const std::string& temporary) {
                                  testing::write_file(temporary, "half");
                                  fail(ErrorCode::kIo, "disk full");
                                }),
               Error);
  EXPECT_EQ(read_file(scratch.path("f")), "first");
  EXPECT_EQ(entries(scratch.path()), 1);
}

TEST(ReadModel, RefusesWhatIsNoModel) {
  const testing::Scratch scratch;
  for (const std::string& content :
       {std::string(), std::string("hello, this is text"), std::string(100, '\xff')}) {
    testing::write_file(scratch.path("m"), content);
    try {
      read_model(scratch.path("m"));
      FAIL() << content;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kData);
      EXPECT_NE(error.message().find(scratch.path("m")), std::string::npos);
    }
  }
}

TEST(ReadModel, ReadsWhatCaffeWrote) {
  const testing::Scratch scratch;
  const NetParameter today =
      read_model(scratch.golden("formats/lenet_tiny_v1_upgraded.caffemodel"));
  const NetParameter v1 = read_model(scratch.golden("formats/lenet_tiny_v1.caffemodel"));
  EXPECT_EQ(today.layer_size(), v1.layer_size());
  EXPECT_GT(today.layer_size(), 3);
}

}  // namespace
}  // namespace caffe
