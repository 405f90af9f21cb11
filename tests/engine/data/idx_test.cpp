#include "data/idx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "core/error.h"
#include "support/error_of.h"
#include "support/scratch.h"

namespace caffe {
namespace {

const std::string kImages(
    "\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0\x03"
    "abcdefABCDEF",
    28);
const std::string kLabels("\0\0\x08\x01\0\0\0\x02\x07\x09", 10);

std::string error_of(const std::string& path) {
  return testing::error_of([&] { read_idx_images(path); });
}

TEST(Idx, ReadsImagesAndLabels) {
  const testing::Scratch scratch;
  testing::write_file(scratch.path("images"), kImages);
  testing::write_file(scratch.path("labels"), kLabels);
  const IdxFile images = read_idx_images(scratch.path("images"));
  EXPECT_EQ(images.items, 2);
  EXPECT_EQ(images.height, 2);
  EXPECT_EQ(images.width, 3);
  EXPECT_EQ(images.values, "abcdefABCDEF");
  EXPECT_EQ(read_idx_labels(scratch.path("labels")).values, "\x07\x09");
}

TEST(Idx, ReadsCompressedFiles) {
  const testing::Scratch scratch;
  const std::string path = scratch.path("images.gz");
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, kImages.data(), static_cast<unsigned>(kImages.size()));
  gzclose(file);
  EXPECT_EQ(read_idx_images(path).values, "abcdefABCDEF");
  testing::write_file(path, testing::read_file(path).substr(0, 20));
  EXPECT_THAT(error_of(path), ::testing::HasSubstr("images.gz"));
}

TEST(Idx, ErrorsSayWhatIsWrong) {
  const testing::Scratch scratch;
  const std::string path = scratch.path("file");
  EXPECT_EQ(error_of(path), "cannot open " + path + ": No such file or directory");
  testing::write_file(path, kLabels);
  EXPECT_THAT(error_of(path), ::testing::HasSubstr("expected an idx file of images"));
  testing::write_file(path, kLabels + std::string(10, 'x'));
  EXPECT_EQ(error_of(path),
            path + " has the magic number 2049, expected 2051 (an idx file of images)");
  testing::write_file(path, kImages.substr(0, 27));
  EXPECT_EQ(error_of(path),
            path + " holds 11 bytes after its header, expected 12 for 2 images of 2 x 3");
}

}  // namespace
}  // namespace caffe
