#include "data/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include <jpeglib.h>
#include <png.h>

#include <fstream>
#include <random>

#include "core/error.h"
#include "support/npz.h"
#include "support/scratch.h"

namespace caffe {
namespace {

std::string error_of(std::string_view bytes) {
  Image image;
  try {
    decode_image(bytes, ColorMode::kUnchanged, image);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    return error.message();
  }
  return "";
}

// The images of an ImageData fixture, in the order of its rows; what Caffe, with OpenCV, read is in
// the npz.
void expect_fixture(const std::string& fixture, ColorMode mode, int height, int width,
                    double scale) {
  const testing::Scratch scratch;
  const std::string folder = scratch.golden("data");
  const auto npz = testing::read_npz(folder + "/" + fixture + ".npz");
  const testing::NpzArray& wanted = npz.at("out_data");
  std::ifstream list(folder + "/list.txt");
  std::string path;
  size_t at = 0;
  for (int label = 0; list >> path >> label && at < wanted.values.size();) {
    Image image, resized;
    decode_image(testing::read_file(folder + "/" + path), mode, image);
    resize_image(image, height, width, resized);
    for (int c = 0; c < resized.channels; ++c) {
      for (int i = 0; i < resized.height * resized.width; ++i, ++at) {
        ASSERT_NEAR(resized.pixels[static_cast<size_t>(i * resized.channels + c)],
                    wanted.values[at] / scale, 1e-3)
            << path << " channel " << c << " pixel " << i;
      }
    }
  }
  EXPECT_GE(at, size_t{2000});
}

TEST(ResizeImage, AgreesWithOpenCvInGray) {
  expect_fixture("imagedata_gray", ColorMode::kGray, 16, 18, 0.01);
}
TEST(ResizeImage, AgreesWithOpenCvInColor) {
  expect_fixture("imagedata_resize", ColorMode::kColor, 13, 16, 1);
}

// Image files made here by the libraries' own encoders, from pixels given as R, G, B(, A).
std::string encode_png(const std::vector<uint8_t>& pixels, int channels, int height, int width) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = channels == 1 ? PNG_FORMAT_GRAY : channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_RGBA;
  png_alloc_size_t size = 0;
  png_image_write_to_memory(&image, nullptr, &size, 0, pixels.data(), 0, nullptr);
  std::string file(size, '\0');
  png_image_write_to_memory(&image, file.data(), &size, 0, pixels.data(), 0, nullptr);
  file.resize(size);
  // Without the chunk that gives the gamma: libpng would let it enter the conversion to grey.
  for (const char* chunk : {"gAMA", "sRGB"}) {
    const size_t type = file.find(chunk);
    if (type == std::string::npos) continue;
    const auto length = static_cast<unsigned char>(file[type - 1]);
    file.erase(type - 4, size_t{12} + length);
  }
  return file;
}

std::string encode_jpeg(const std::vector<uint8_t>& pixels, int channels, int height, int width) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = channels;
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 100, TRUE);
  info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = 1;
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    auto* row = const_cast<uint8_t*>(pixels.data()) +
                static_cast<size_t>(info.next_scanline) * width * channels;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  std::string file(reinterpret_cast<char*>(memory), size);
  jpeg_destroy_compress(&info);
  std::free(memory);
  return file;
}

std::vector<uint8_t> smooth_pixels(int channels, int height, int width) {
  std::vector<uint8_t> pixels;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c)
        pixels.push_back(static_cast<uint8_t>(40 + 3 * x + (2 + c) * y + 20 * c));
    }
  }
  return pixels;
}

Image decoded(const std::string& file, ColorMode mode) {
  Image image;
  decode_image(file, mode, image);
  return image;
}

TEST(DecodeImage, PngInEveryMode) {
  const int height = 9, width = 13;
  for (const int channels : {1, 3, 4}) {
    const auto pixels = smooth_pixels(channels, height, width);
    const std::string file = encode_png(pixels, channels, height, width);
    const Image same = decoded(file, ColorMode::kUnchanged);
    const Image color = decoded(file, ColorMode::kColor);
    const Image gray = decoded(file, ColorMode::kGray);
    ASSERT_EQ(same.channels, channels);
    ASSERT_EQ(color.channels, 3);
    ASSERT_EQ(gray.channels, 1);
    for (size_t i = 0; i < size_t{9} * 13; ++i) {
      const uint8_t* p = &pixels[i * static_cast<size_t>(channels)];
      const uint8_t red = p[0], green = channels == 1 ? p[0] : p[1],
                    blue = channels == 1 ? p[0] : p[2];
      EXPECT_THAT(std::vector<int>(&color.pixels[3 * i], &color.pixels[3 * i] + 3),
                  ::testing::ElementsAre(blue, green, red));
      EXPECT_NEAR(gray.pixels[i], 0.299 * red + 0.587 * green + 0.114 * blue, 1.01);
      if (channels == 4) {
        EXPECT_EQ(same.pixels[4 * i + 3], p[3]);
        EXPECT_EQ(same.pixels[4 * i], blue);
      }
    }
  }
}

TEST(DecodeImage, JpegInEveryMode) {
  const int height = 24, width = 40;
  for (const int channels : {1, 3, 4}) {
    const auto pixels = smooth_pixels(channels, height, width);
    const std::string file = encode_jpeg(pixels, channels, height, width);
    const Image same = decoded(file, ColorMode::kUnchanged);
    const Image color = decoded(file, ColorMode::kColor);
    const Image gray = decoded(file, ColorMode::kGray);
    ASSERT_EQ(same.channels, channels == 1 ? 1 : 3);
    for (size_t i = 0; i < size_t{24} * 40; ++i) {
      const uint8_t* p = &pixels[i * static_cast<size_t>(channels)];
      double red = p[0], green = channels == 1 ? p[0] : p[1], blue = channels == 1 ? p[0] : p[2];
      if (channels == 4) {  // inverted inks
        red = red * p[3] / 255, green = green * p[3] / 255, blue = blue * p[3] / 255;
      }
      EXPECT_NEAR(color.pixels[3 * i], blue, 4);
      EXPECT_NEAR(color.pixels[3 * i + 1], green, 4);
      EXPECT_NEAR(color.pixels[3 * i + 2], red, 4);
      EXPECT_NEAR(gray.pixels[i], 0.299 * red + 0.587 * green + 0.114 * blue, 4);
    }
  }
}

TEST(DecodeImage, PnmAndBmp) {
  const std::string pnm = std::string("P6 2 1 255\n") + "\x01\x02\x03\xf1\xf2\xf3";
  EXPECT_THAT(decoded(pnm, ColorMode::kUnchanged).pixels,
              ::testing::ElementsAre(3, 2, 1, 0xf3, 0xf2, 0xf1));
  EXPECT_THAT(decoded(pnm, ColorMode::kGray).pixels, ::testing::ElementsAre(2, 0xf2));
  const std::string gray = std::string("P5 2 1 255\n") + "\x10\x20";
  EXPECT_THAT(decoded(gray, ColorMode::kUnchanged).pixels, ::testing::ElementsAre(0x10, 0x20));
  EXPECT_THAT(decoded(gray, ColorMode::kColor).pixels,
              ::testing::ElementsAre(0x10, 0x10, 0x10, 0x20, 0x20, 0x20));
  const std::string bmp(
      "BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0\0\0\0\0\x04\0\0\0"
      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x11\x22\x33\0",
      58);
  EXPECT_THAT(decoded(bmp, ColorMode::kUnchanged).pixels, ::testing::ElementsAre(0x11, 0x22, 0x33));
}

TEST(DecodeImage, DamagedFilesAreErrorsAndNeverCrash) {
  const std::string jpeg = encode_jpeg(smooth_pixels(3, 40, 50), 3, 40, 50);
  const std::string png = encode_png(smooth_pixels(3, 40, 50), 3, 40, 50);
  EXPECT_EQ(error_of(""), "holds no image (0 bytes)");
  EXPECT_THAT(error_of("some text that is no image"),
              ::testing::HasSubstr("26 bytes that are no JPEG"));
  EXPECT_THAT(error_of(jpeg.substr(0, jpeg.size() / 2)),
              ::testing::StartsWith("holds a damaged JPEG: Premature end"));
  EXPECT_THAT(error_of(png.substr(0, png.size() / 2)),
              ::testing::StartsWith("holds a damaged PNG: the file ends"));
  std::mt19937 random(3);
  for (const std::string& file : {jpeg, png}) {
    for (int i = 0; i < 2000; ++i) {
      std::string damaged = file;
      if (i % 2 == 0) damaged.resize(random() % damaged.size());
      for (unsigned flips = random() % 4; flips > 0 && !damaged.empty(); --flips) {
        damaged[random() % std::min<size_t>(damaged.size(), 700)] = static_cast<char>(random());
      }
      error_of(damaged);
    }
  }
}

TEST(ResizeImage, KeepsAConstantAndTheOriginalSize) {
  Image image, resized;
  image.reshape(3, 7, 5);
  std::fill(image.pixels.begin(), image.pixels.end(), uint8_t{200});
  resize_image(image, 31, 3, resized);
  EXPECT_THAT(resized.pixels, ::testing::Each(200));
  image.pixels = smooth_pixels(3, 7, 5);
  resize_image(image, 7, 5, resized);
  EXPECT_EQ(resized.pixels, image.pixels);
}

}  // namespace
}  // namespace caffe
