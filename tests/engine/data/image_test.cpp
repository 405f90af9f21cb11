#include "data/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include <jpeglib.h>
#include <png.h>

#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

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

struct JpegForm {
  std::vector<std::pair<int, int>> sampling = {{1, 1}};  // of the first components: h, v
  bool progressive = false;
  unsigned restart_interval = 0;  // in MCUs
  int quality = 100;
  bool blurred = false;  // progressive, and cut off: nothing but the first scan, means of blocks
};

std::string encode_jpeg(const std::vector<uint8_t>& pixels, int channels, int height, int width,
                        const JpegForm& form = {}) {
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
  jpeg_set_quality(&info, form.quality, TRUE);
  for (size_t i = 0; i < form.sampling.size(); ++i) {
    info.comp_info[i].h_samp_factor = form.sampling[i].first;
    info.comp_info[i].v_samp_factor = form.sampling[i].second;
  }
  info.restart_interval = form.restart_interval;
  if (form.progressive) jpeg_simple_progression(&info);
  jpeg_scan_info scan{channels, {0, 1, 2}, 0, 0, 0, 0};
  if (form.blurred) {
    info.scan_info = &scan;
    info.num_scans = 1;
  }
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
  EXPECT_THAT(error_of("P6 # as wide\n 12345678901 1 255\nxyz"), ::testing::HasSubstr("no JPEG"));
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

// What is next to a pixel shows in its colour.
std::vector<uint8_t> noisy_pixels(int channels, int height, int width) {
  std::mt19937 random(5);
  std::vector<uint8_t> pixels(static_cast<size_t>(channels) * height * width);
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random());
  return pixels;
}

// The values of a region, or the error that there was instead.
struct Result {
  std::vector<uint8_t> values;
  std::string error;
  bool operator==(const Result&) const = default;
};

std::vector<uint8_t> values_of(const uint8_t* first, ptrdiff_t row, int channels,
                               const Region& region) {
  std::vector<uint8_t> values;
  for (int y = 0; y < region.height; ++y) {
    values.insert(values.end(), first + y * row, first + y * row + region.width * channels);
  }
  return values;
}

Result region_of(ImageReader& reader, std::string_view file, ColorMode mode, const Region& region) {
  try {
    reader.open(file, mode);
    const auto [first, row] = reader.read(region);
    return {values_of(first, row, reader.channels(), region), ""};
  } catch (const Error& error) {
    return {{}, error.message()};
  }
}

Result region_of(const Image& image, const Region& region) {
  const ptrdiff_t row = ptrdiff_t{image.width} * image.channels;
  const uint8_t* first =
      image.pixels.data() + region.top * row + ptrdiff_t{region.left} * image.channels;
  return {values_of(first, row, image.channels, region), ""};
}

struct ImageFile {
  std::string name;
  int channels;
  JpegForm form;
};

const std::vector<ImageFile> kJpegFiles = {
    {"4:4:4", 3, {}},
    {"4:2:2", 3, {{{2, 1}}}},
    {"4:2:0", 3, {{{2, 2}}}},
    {"4:4:0", 3, {{{1, 2}}}},
    {"4:1:1", 3, {{{4, 1}}}},
    {"4:1:0", 3, {{{4, 2}}}},
    {"a third of the columns", 3, {{{3, 1}}}},
    {"colours finer than luma", 3, {{{1, 1}, {2, 2}, {2, 1}}}},
    {"three widths", 3, {{{4, 1}, {2, 1}, {1, 1}}}},
    {"4:2:0 with restarts", 3, {{{2, 2}}, false, 2}},
    {"4:2:0, coarse", 3, {{{2, 2}}, false, 0, 20}},
    {"progressive 4:4:4", 3, {{{1, 1}}, true, 0, 60}},
    {"progressive 4:2:0", 3, {{{2, 2}}, true, 0, 60}},
    {"progressive, blurred", 3, {{{1, 1}}, true, 0, 60, true}},
    {"gray", 1, {}},
    {"gray of blocks of 2 x 2", 1, {{{2, 2}}}},
    {"gray, progressive", 1, {{{1, 1}}, true}},
    {"CMYK", 4, {}},
    {"CMYK 4:2:0", 4, {{{2, 2}, {1, 1}, {1, 1}, {2, 2}}}},
};

// Calls check(name, file) for each kind, and for a PNG.
template <typename Check>
void for_each_file(int height, int width, Check check) {
  for (const auto& [name, channels, form] : kJpegFiles) {
    check(name, encode_jpeg(noisy_pixels(channels, height, width), channels, height, width, form));
  }
  check("PNG", encode_png(noisy_pixels(3, height, width), 3, height, width));
}

void expect_regions(const std::string& name, const std::string& file, ColorMode mode,
                    const std::vector<int>& widths) {
  const Image whole = decoded(file, mode);
  ImageReader reader;
  std::mt19937 random(1);
  for (const int width : widths) {
    for (int left = 0; left + width <= whole.width; ++left) {
      const int height = 1 + static_cast<int>(random() % static_cast<unsigned>(whole.height));
      const int top = static_cast<int>(random() % static_cast<unsigned>(whole.height - height + 1));
      const Region region{top, left, height, width};
      ASSERT_TRUE(region_of(reader, file, mode, region) == region_of(whole, region))
          << name << ", " << whole.height << " x " << whole.width << ": " << height << " x "
          << width << " at " << top << ", " << left;
    }
  }
}

TEST(ImageReader, GivesAtEveryPlaceWhatTheWholeImageHas) {
  for_each_file(37, 83, [](const std::string& name, const std::string& file) {
    for (const ColorMode mode : {ColorMode::kUnchanged, ColorMode::kGray}) {
      expect_regions(name, file, mode, {1, 2, 3, 8, 15, 16, 17, 32, 47, 64, 70, 80, 82, 83});
    }
  });
  // Upsampling is another one where there are few columns.
  for (int width = 1; width <= 20; ++width) {
    for_each_file(11, width, [&](const std::string& name, const std::string& file) {
      std::vector<int> widths;
      for (int i = 1; i <= width; ++i) widths.push_back(i);
      expect_regions(name, file, ColorMode::kColor, widths);
    });
  }
}

TEST(ImageReader, GivesEveryRowOfTheWholeImage) {
  for_each_file(37, 20, [](const std::string& name, const std::string& file) {
    const Image whole = decoded(file, ColorMode::kUnchanged);
    ImageReader reader;
    for (int top = 0; top < 37; ++top) {
      for (int height = 1; top + height <= 37; ++height) {
        const Region region{top, 3, height, 14};
        ASSERT_TRUE(region_of(reader, file, ColorMode::kUnchanged, region) ==
                    region_of(whole, region))
            << name << ": " << height << " rows from " << top;
      }
    }
    reader.open(file, ColorMode::kUnchanged);
    EXPECT_EQ(reader.read().pixels, whole.pixels) << name;
  });
}

// Also where it is far from what is read.
TEST(ImageReader, FindsDamageAsDecodingOfTheWholeImageDoes) {
  const int height = 37, width = 83;
  const std::vector<Region> regions = {{0, 0, 1, 1}, {18, 40, 5, 9}, {0, 0, height, width}};
  for_each_file(height, width, [&](const std::string& name, const std::string& file) {
    // Of progressive files that lack a scan, libjpeg-turbo 2.1 smooths rows it has not got.
    const bool repeatable = name.find("progressive") == std::string::npos;
    // What comes before may change the size.
    const size_t body = file.find(name == "PNG" ? "IDAT" : "\xff\xda");
    ASSERT_LT(body, file.size());
    ImageReader reader;
    const auto expect_same = [&](const std::string& damaged) {
      Image whole;
      std::string error;
      try {
        decode_image(damaged, ColorMode::kUnchanged, whole);
      } catch (const Error& caught) {
        error = caught.message();
      }
      for (const Region& region : regions) {
        const Result found = region_of(reader, damaged, ColorMode::kUnchanged, region);
        ASSERT_EQ(found.error, error) << name;
        if (error.empty() && repeatable) {
          ASSERT_TRUE(found == region_of(whole, region)) << name;
        }
      }
    };
    for (size_t size = 0; size < file.size(); size += 1 + size / 50) {
      EXPECT_NE(error_of(file.substr(0, size)), "");
      expect_same(file.substr(0, size));
    }
    for (size_t missing = 1; missing < 20; ++missing) {
      EXPECT_NE(error_of(file.substr(0, file.size() - missing)), "") << name << ' ' << missing;
      expect_same(file.substr(0, file.size() - missing));
    }
    std::mt19937 random(3);
    for (int i = 0; i < 300; ++i) {
      std::string damaged = file;
      damaged[body + random() % (damaged.size() - body)] = static_cast<char>(random());
      expect_same(damaged);
    }
  });
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
