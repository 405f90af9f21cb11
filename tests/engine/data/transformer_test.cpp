// The transformer against the formula of Caffe, computed here value by value.

#include "data/transformer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <random>

#include "core/error.h"
#include "data/image_encode.h"
#include "support/error_of.h"
#include "support/scratch.h"

namespace caffe {
namespace {

struct Pixels {
  Extents extents;
  std::vector<uint8_t> planar;
  std::vector<uint8_t> interleaved;
  std::vector<float> floats;
};

Pixels random_pixels(const Extents& e, uint32_t seed) {
  Pixels pixels{e, {}, {}, {}};
  std::mt19937 random(seed);
  const auto count = static_cast<size_t>(e.count());
  for (size_t i = 0; i < count; ++i) pixels.planar.push_back(static_cast<uint8_t>(random()));
  pixels.interleaved.resize(count);
  const auto plane = static_cast<size_t>(e.height) * static_cast<size_t>(e.width);
  for (size_t i = 0; i < count; ++i) {
    pixels.interleaved[i % plane * static_cast<size_t>(e.channels) + i / plane] = pixels.planar[i];
  }
  pixels.floats.assign(pixels.planar.begin(), pixels.planar.end());
  return pixels;
}

using MeanAt = std::function<float(int c, int y, int x)>;

std::vector<float> expected(const Pixels& pixels, int top, int left, int height, int width,
                            bool mirror, const MeanAt& mean, float scale) {
  std::vector<float> out;
  const Extents& e = pixels.extents;
  for (int c = 0; c < e.channels; ++c) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const int from_y = top + y, from_x = left + (mirror ? width - 1 - x : x);
        const size_t at = (static_cast<size_t>(c) * e.height + from_y) * e.width + from_x;
        out.push_back((static_cast<float>(pixels.planar[at]) - mean(c, from_y, from_x)) * scale);
      }
    }
  }
  return out;
}

// The three ways in must agree to the bit.
std::vector<float> transformed(const Transformer& transformer, const Pixels& pixels,
                               int64_t position) {
  const Extents& e = pixels.extents;
  const auto count = static_cast<size_t>(transformer.output(e).count());
  std::vector<float> planar(count), interleaved(count), floats(count);
  transformer.transform(PixelView{pixels.planar.data(), e, false}, position, planar.data());
  transformer.transform(PixelView{pixels.interleaved.data(), e, true}, position,
                        interleaved.data());
  transformer.transform(pixels.floats.data(), e, position, floats.data());
  EXPECT_EQ(planar, interleaved);
  EXPECT_EQ(planar, floats);
  return planar;
}

TEST(Transformer, FollowsTheFormulaForEveryCombination) {
  const testing::Scratch scratch;
  for (const int channels : {1, 2, 3, 4, 5}) {
    const Pixels pixels = random_pixels({channels, 21, 37}, 3);
    BlobProto blob;
    std::mt19937 random(5);
    for (const int64_t d : {1, channels, 21, 37}) blob.mutable_shape()->add_dim(d);
    for (int64_t i = 0; i < pixels.extents.count(); ++i)
      blob.add_data(static_cast<float>(random() % 2000) / 7.0f);
    testing::write_file(scratch.path("mean"), blob.SerializeAsString());
    const std::map<std::string, MeanAt> means = {
        {"none", [](int, int, int) { return 0.0f; }},
        {"one", [](int, int, int) { return 33.5f; }},
        {"channels", [](int c, int, int) { return 10.25f * static_cast<float>(c + 1); }},
        {"file", [&](int c, int y, int x) { return blob.data((c * 21 + y) * 37 + x); }}};
    for (const auto& [kind, mean] : means) {
      for (const int crop : {0, 8, 21}) {
        for (const float scale : {1.0f, 0.017f}) {
          TransformationParameter param;
          param.set_scale(scale);
          if (crop > 0) param.set_crop_size(static_cast<uint32_t>(crop));
          if (kind == "one") param.add_mean_value(33.5f);
          if (kind == "channels") {
            for (int c = 0; c < channels; ++c) param.add_mean_value(mean(c, 0, 0));
          }
          if (kind == "file") param.set_mean_file(scratch.path("mean"));
          const int height = crop > 0 ? crop : 21, width = crop > 0 ? crop : 37;
          const int top = (21 - height) / 2, left = (37 - width) / 2;
          const Transformer straight(param, TEST, 1, "data");
          EXPECT_EQ(transformed(straight, pixels, 5),
                    expected(pixels, top, left, height, width, false, mean, scale));
          param.set_mirror(true);
          const Transformer mirroring(param, TEST, 1, "data");
          const auto plain = expected(pixels, top, left, height, width, false, mean, scale);
          const auto mirrored = expected(pixels, top, left, height, width, true, mean, scale);
          int count = 0;
          for (int position = 0; position < 100; ++position) {
            const auto found = transformed(mirroring, pixels, position);
            ASSERT_TRUE(found == plain || found == mirrored);
            count += found == mirrored;
          }
          EXPECT_GT(count, 25);  // each side of 50 by more than 5 standard deviations
          EXPECT_LT(count, 75);
        }
      }
    }
  }
}

TEST(Transformer, CropsUniformlyInTraining) {
  // Pixel values tell where a crop came from.
  Pixels pixels{{1, 4, 5}, {}, {}, {}};
  for (int i = 0; i < 20; ++i) pixels.planar.push_back(static_cast<uint8_t>(i));
  TransformationParameter param;
  param.set_crop_size(2);
  const Transformer transformer(param, TRAIN, 7, "data");
  std::map<float, int> corners;
  const int draws = 12000;
  for (int position = 0; position < draws; ++position) {
    float out[4];
    transformer.transform(PixelView{pixels.planar.data(), pixels.extents, false}, position, out);
    EXPECT_EQ(out[1], out[0] + 1);
    EXPECT_EQ(out[2], out[0] + 5);
    ++corners[out[0]];
  }
  EXPECT_EQ(corners.size(), 12u);  // 3 x 4 places
  for (const auto& [corner, count] : corners)
    EXPECT_NEAR(count, draws / 12, 5 * std::sqrt(draws / 12.0)) << corner;
}

TEST(Transformer, DrawsDependOnSeedLayerAndPositionOnly) {
  const Pixels pixels = random_pixels({3, 40, 40}, 1);
  TransformationParameter param;
  param.set_crop_size(20);
  param.set_mirror(true);
  const auto draw = [&](uint64_t seed, const char* layer, int64_t position) {
    return transformed(Transformer(param, TRAIN, seed, layer), pixels, position);
  };
  EXPECT_EQ(draw(1, "data", 1000), draw(1, "data", 1000));
  EXPECT_NE(draw(1, "data", 1000), draw(1, "data", 1001));
  EXPECT_NE(draw(1, "data", 1000), draw(2, "data", 1000));
  EXPECT_NE(draw(1, "data", 1000), draw(1, "other", 1000));
}

Datum datum_of(int channels, int height, int width, size_t bytes) {
  Datum datum;
  datum.set_channels(channels);
  datum.set_height(height);
  datum.set_width(width);
  datum.set_data(std::string(bytes, 'x'));
  return datum;
}

std::string content_error(const Datum& datum, const TransformationParameter& param = {}) {
  const Transformer transformer(param, TEST, 1, "data");
  Transformer::Scratch scratch;
  DatumView view;
  const std::string wire = datum.SerializeAsString();
  EXPECT_TRUE(try_parse_datum(wire, view));
  try {
    transformer.output(transformer.content(view, scratch).pixels.extents);
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

// Of an image file only the crop may be decoded.
TEST(Transformer, TakesFromAnImageFileWhatItTakesFromItsPixels) {
  const testing::Scratch scratch;
  for (const char* type : {"jpg", "png"}) {
    for (const int channels : {1, 3}) {
      const Extents extents{channels, 50, 70};
      const Pixels pixels = random_pixels(extents, 3);
      const Image image{channels, extents.height, extents.width, pixels.interleaved};
      Datum datum;
      datum.set_encoded(true);
      datum.set_data(encode_image(image, type));
      BlobProto mean;
      for (const int64_t d : {1, channels, 50, 70}) mean.mutable_shape()->add_dim(d);
      for (int64_t i = 0; i < extents.count(); ++i) mean.add_data(static_cast<float>(i % 1000) / 7);
      testing::write_file(scratch.path("mean"), mean.SerializeAsString());
      for (const uint32_t crop : {0u, 33u}) {
        TransformationParameter param;
        if (crop > 0) param.set_crop_size(crop);
        param.set_mirror(true);
        param.set_mean_file(scratch.path("mean"));
        const Transformer transformer(param, TRAIN, 5, "data");
        const std::string wire = datum.SerializeAsString();
        DatumView view;
        ASSERT_TRUE(try_parse_datum(wire, view));
        Image whole;
        decode_image(view.data, ColorMode::kUnchanged, whole);
        Transformer::Scratch memory;
        const auto count = static_cast<size_t>(transformer.output(extents).count());
        std::vector<float> found(count), wanted(count);
        for (int position = 0; position < 60; ++position) {
          const Transformer::Content content = transformer.content(view, memory);
          ASSERT_EQ(content.pixels.extents, extents);
          transformer.transform(content, position, found.data());
          transformer.transform(PixelView{whole.pixels.data(), extents, true}, position,
                                wanted.data());
          ASSERT_EQ(found, wanted) << type << ' ' << channels << ' ' << crop << ' ' << position;
        }
        const PixelView all = transformer.content(view, memory).all_pixels();
        EXPECT_EQ(std::vector<uint8_t>(all.data, all.data + extents.count()), whole.pixels);
      }
    }
  }
}

TEST(Transformer, RefusesContentThatContradictsItself) {
  EXPECT_EQ(content_error(datum_of(1, 2, 3, 6)), "");
  EXPECT_EQ(content_error(datum_of(1, 2, 3, 7)),
            "is a Datum of the extents 1 x 2 x 3, but holds 7 bytes");
  EXPECT_THAT(content_error(datum_of(0, 2, 3, 7)),
              ::testing::HasSubstr("0 x 2 x 3, expected at least 1 each"));
  EXPECT_THAT(content_error(datum_of(-1, -2, 3, 6)), ::testing::HasSubstr("-1 x -2 x 3"));
  EXPECT_THAT(content_error(datum_of(65536, 65536, 65536, 6)),
              ::testing::HasSubstr("holds 6 bytes"));
  EXPECT_THAT(content_error(datum_of(2147483647, 2147483647, 4, 4)),
              ::testing::HasSubstr("holds 4 bytes"));
  EXPECT_THAT(content_error(datum_of(1, 2, 3, 0)), ::testing::HasSubstr("holds 0 values"));
  Datum encoded;
  encoded.set_encoded(true);
  EXPECT_EQ(content_error(encoded), "holds no image (0 bytes)");
  encoded.set_data("not an image at all");
  EXPECT_THAT(content_error(encoded), ::testing::HasSubstr("no JPEG, PNG, BMP, GIF or PNM image"));
}

TEST(Transformer, RefusesContradictingSettings) {
  const auto error_of = [](const TransformationParameter& param) {
    return testing::error_of([&] { const Transformer transformer(param, TEST, 1, "data"); });
  };
  TransformationParameter param;
  param.set_force_color(true);
  param.set_force_gray(true);
  EXPECT_THAT(error_of(param), ::testing::HasSubstr("both force_color and force_gray"));
  TransformationParameter absent;
  absent.set_mean_file("absent.binaryproto");
  EXPECT_EQ(error_of(absent), "cannot open absent.binaryproto: No such file or directory");
}

}  // namespace
}  // namespace caffe
