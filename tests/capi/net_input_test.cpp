#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <thread>

#include "capi/handles.h"
#include "proto/caffe.pb.h"

namespace caffe::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const char* const kNet =
    "name: 'n' layer { name: 'in' type: 'Input' top: 'x' top: 'y' input_param { shape { dim: 2 "
    "dim: 3 } shape { dim: 2 } } }\n"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'z' inner_product_param { "
    "num_output: 40 weight_filler { type: 'gaussian' std: 1 } } }";

std::vector<int64_t> shape_of(caffe_net* net, const char* blob) {
  int64_t dims[8];
  int axes = 0;
  must(caffe_net_blob_shape(net, blob, dims, 8, &axes));
  return {dims, dims + axes};
}

std::vector<float> answer(caffe_net* net, int64_t rows, const std::vector<float>& values) {
  const int64_t dims[] = {rows, 3};
  must(caffe_net_set_input(net, "x", dims, 2, values.data()));
  int64_t ran = 0;
  must(caffe_net_forward(net, &ran));
  EXPECT_EQ(ran, rows);
  return read_blob(net, "z");
}

TEST(NetInput, TakesValuesAndShapes) {
  const NetHandle net = make_net(kNet);
  EXPECT_THAT(
      strings_of([&](caffe_strings** names) { return caffe_net_input_names(net.get(), names); }),
      ElementsAre("x", "y"));
  const std::vector<float> two = answer(net.get(), 2, {1, 2, 3, -1, 0, 5});
  const std::vector<float> one = answer(net.get(), 1, {-1, 0, 5});
  EXPECT_THAT(shape_of(net.get(), "z"), ElementsAre(1, 40));
  ASSERT_EQ(one.size(), 40u);
  for (size_t i = 0; i < 40; ++i) EXPECT_NEAR(one[i], two[40 + i], 1e-5);
  EXPECT_EQ(answer(net.get(), 2, {1, 2, 3, -1, 0, 5}), two);
}

TEST(NetInput, TellsTheShapesThatItsInputsMakeBeforeItRuns) {
  const NetHandle net = make_net(kNet);
  const std::vector<float> values(9);
  const int64_t three[] = {3, 3};
  must(caffe_net_set_input(net.get(), "x", three, 2, values.data()));
  EXPECT_THAT(shape_of(net.get(), "z"), ElementsAre(3, 40));
  EXPECT_EQ(answer(net.get(), 3, values).size(), 120u);
}

TEST(NetInput, RunsOnlyOnInputsThatFitTogether) {
  const NetHandle net = make_net(std::string(kNet) +
                                 " layer { name: 'r' type: 'Reshape' bottom: 'z' top: 'r' "
                                 "reshape_param { shape { dim: 2 dim: -1 dim: 8 } } }");
  const std::vector<float> values(9);
  const int64_t one[] = {1, 2}, two[] = {2, 3};
  must(caffe_net_set_input(net.get(), "x", one, 2, values.data()));
  int64_t ran = 0;
  int axes = 0;
  int64_t dims[8];
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(caffe_net_blob_shape(net.get(), "r", dims, 8, &axes), CAFFE_INVALID_ARGUMENT);
    EXPECT_EQ(caffe_net_forward(net.get(), &ran), CAFFE_INVALID_ARGUMENT);
  }
  EXPECT_THAT(caffe_last_error(), HasSubstr("ip (InnerProduct)"));
  must(caffe_net_set_input(net.get(), "x", two, 2, values.data()));
  EXPECT_THAT(shape_of(net.get(), "r"), ElementsAre(2, 5, 8));
  must(caffe_net_forward(net.get(), &ran));
}

TEST(NetInput, NamesWhatIsWrong) {
  const NetHandle net = make_net(kNet);
  const float value = 0;
  const int64_t dims[] = {1, 0};
  EXPECT_EQ(caffe_net_set_input(net.get(), "z", dims, 1, &value), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(),
              HasSubstr("blob 'z' is no input of net 'n'; its inputs are x, y"));
  EXPECT_EQ(caffe_net_set_input(net.get(), "x", dims, 2, &value), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("every extent must be at least 1"));
  int axes = 0;
  int64_t extents[1];
  EXPECT_EQ(caffe_net_blob_shape(net.get(), "x", extents, 1, &axes), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("2 axes"));
}

TEST(NetShare, AnswersAsItsOwnerAndOutlivesIt) {
  NetHandle owner = make_net(kNet);
  const NetHandle other =
      make_net(std::string(kNet) + " layer { name: 'r' type: 'ReLU' bottom: 'z' top: 'z' }");
  const std::vector<float> values = {1, 2, 3, -1, 0, 5};
  std::vector<float> expected = answer(owner.get(), 2, values);
  for (float& v : expected) v = std::max(v, 0.f);
  must(caffe_net_share(other.get(), owner.get()));
  owner.reset();
  EXPECT_EQ(answer(other.get(), 2, values), expected);
}

TEST(NetShare, LetsNetsRunSideBySideWhileTheyAreReshaped) {
  const NetHandle owner = make_net(kNet);
  const std::vector<float> row = {1, -2, 3};
  const std::vector<float> expected = answer(owner.get(), 1, row);
  std::vector<std::thread> threads;
  std::vector<int> wrong(3, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      static std::mutex sharing;
      NetHandle net = make_net(kNet, 1, "threads=1");
      {
        const std::lock_guard<std::mutex> lock(sharing);
        must(caffe_net_share(net.get(), owner.get()));
      }
      for (int64_t i = 0; i < 60; ++i) {
        const int64_t rows = 1 + (i / 7 + static_cast<int64_t>(t)) % 3;
        std::vector<float> values;
        for (int64_t r = 0; r < rows; ++r) values.insert(values.end(), row.begin(), row.end());
        const std::vector<float> got = answer(net.get(), rows, values);
        for (size_t k = 0; k < got.size(); ++k)
          wrong[t] += std::abs(got[k] - expected[k % 40]) > 1e-4f;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0));
}

struct FreeTransformer {
  void operator()(caffe_transformer* handle) const { caffe_transformer_free(handle); }
};
using TransformerHandle = std::unique_ptr<caffe_transformer, FreeTransformer>;

TransformerHandle transformer(const TransformationParameter& param, const std::string& options) {
  const std::string wire = param.SerializeAsString();
  caffe_transformer* handle = nullptr;
  must(caffe_transformer_create(reinterpret_cast<const uint8_t*>(wire.data()), wire.size(),
                                options.c_str(), &handle));
  return TransformerHandle(handle);
}

TEST(Transformer, CropsScalesAndSubtractsTheMeanOfPixels) {
  TransformationParameter param;
  param.set_crop_size(1);
  param.set_scale(0.5);
  param.add_mean_value(2);
  const TransformerHandle handle = transformer(param, "channels=3");
  std::vector<uint8_t> pixels(27);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i);
  const int32_t extents[] = {3, 3, 3}, expected[] = {3, 1, 1};
  int32_t result[3];
  must(caffe_transformer_output(handle.get(), extents, result));
  EXPECT_THAT(result, ElementsAre(3, 1, 1));
  float out[3];
  must(caffe_transformer_pixels(handle.get(), pixels.data(), 27, extents, expected, out));
  EXPECT_THAT(out, ElementsAre(5, 5.5f, 6));  // the middle pixel: 12, 13, 14
  std::vector<float> values(pixels.begin(), pixels.end());
  must(caffe_transformer_values(handle.get(), values.data(), 27, extents, expected, out));
  EXPECT_THAT(out, ElementsAre(1, 5.5f, 10));  // planes: 4, 13, 22
}

TEST(Transformer, GivesPicturesTheChannelsAndSizeAskedFor) {
  const TransformerHandle gray = transformer({}, "channels=1\nheight=2\nwidth=2");
  const std::vector<uint8_t> blue = {255, 0, 0, 255, 0, 0};
  const int32_t extents[] = {3, 1, 2}, expected[] = {1, 2, 2};
  float out[4];
  must(caffe_transformer_pixels(gray.get(), blue.data(), 6, extents, expected, out));
  EXPECT_THAT(out, ElementsAre(29, 29, 29, 29));  // 0.114 * 255
  const std::string file = "P5 2 1 255 \x0a\x14";
  const TransformerHandle colour = transformer({}, "channels=3");
  const int32_t wanted[] = {3, 1, 2};
  float pixels[6];
  must(caffe_transformer_encoded(colour.get(), reinterpret_cast<const uint8_t*>(file.data()),
                                 file.size(), wanted, pixels));
  EXPECT_THAT(pixels, ElementsAre(10, 20, 10, 20, 10, 20));
}

TEST(Transformer, SaysWhatIsWrongWithARow) {
  const TransformerHandle handle = transformer({}, "");
  const uint8_t bytes[4] = {1, 2, 3, 4};
  const int32_t extents[] = {1, 2, 2}, other[] = {1, 3, 3}, odd[] = {1, 1, 2};
  float out[9];
  EXPECT_EQ(caffe_transformer_pixels(handle.get(), bytes, 4, extents, other, out), CAFFE_DATA);
  EXPECT_THAT(caffe_last_error(), AllOf(HasSubstr("1 x 2 x 2"), HasSubstr("takes 1 x 3 x 3")));
  EXPECT_EQ(caffe_transformer_pixels(handle.get(), bytes, 4, odd, odd, out), CAFFE_DATA);
  EXPECT_THAT(caffe_last_error(), HasSubstr("holds 4 bytes"));
  const TransformerHandle resizing = transformer({}, "height=1\nwidth=1");
  const int32_t huge[] = {1 << 16, 1 << 24, 1 << 24}, one[] = {1 << 16, 1, 1};  // 2^64 together
  EXPECT_EQ(caffe_transformer_pixels(resizing.get(), bytes, 0, huge, one, out), CAFFE_DATA);
  EXPECT_THAT(caffe_last_error(), HasSubstr("holds 0 bytes"));
  EXPECT_EQ(caffe_transformer_encoded(handle.get(), bytes, 4, other, out), CAFFE_DATA);
  caffe_transformer* made = nullptr;
  EXPECT_EQ(caffe_transformer_create(nullptr, 0, "height=3", &made), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("both height and width"));
}

struct FreeImage {
  void operator()(caffe_image* image) const { caffe_image_free(image); }
};
using ImageHandle = std::unique_ptr<caffe_image, FreeImage>;

std::vector<uint8_t> pixels_of(caffe_image* image, int32_t extents[3]) {
  const uint8_t* const pixels = caffe_image_pixels(image, extents);
  return {pixels, pixels + extents[0] * extents[1] * extents[2]};
}

TEST(Image, IsDecodedAndResized) {
  const std::string file = "P5 2 1 255 \x0a\x14";
  const auto* bytes = reinterpret_cast<const uint8_t*>(file.data());
  int32_t extents[3];
  for (const int channels : {0, 1, 3}) {
    caffe_image* made = nullptr;
    must(caffe_image_decode(bytes, file.size(), channels, &made));
    const ImageHandle image(made);
    const std::vector<uint8_t> pixels = pixels_of(image.get(), extents);
    EXPECT_THAT(extents, ElementsAre(channels == 3 ? 3 : 1, 1, 2));
    EXPECT_EQ(pixels.front(), 10);
    EXPECT_EQ(pixels.back(), 20);
  }
  const uint8_t pixels[] = {10, 20, 30, 40};
  const int32_t from[] = {2, 1, 2};
  caffe_image* made = nullptr;
  must(caffe_image_resize(pixels, 4, from, 2, 1, &made));
  const ImageHandle image(made);
  EXPECT_THAT(pixels_of(image.get(), extents), ElementsAre(20, 30, 20, 30));
  EXPECT_THAT(extents, ElementsAre(2, 2, 1));
}

TEST(Image, SaysWhatIsWrongWithIt) {
  const uint8_t bytes[4] = {1, 2, 3, 4};
  const int32_t extents[] = {1, 2, 2}, odd[] = {1, 1, 2};
  caffe_image* made = nullptr;
  EXPECT_EQ(caffe_image_decode(bytes, 4, 0, &made), CAFFE_DATA);
  EXPECT_EQ(caffe_image_decode(bytes, 4, 2, &made), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("not to 2"));
  EXPECT_EQ(caffe_image_resize(bytes, 4, odd, 3, 3, &made), CAFFE_DATA);
  EXPECT_THAT(caffe_last_error(), HasSubstr("holds 4 bytes"));
  EXPECT_EQ(caffe_image_resize(bytes, 4, extents, -1, 3, &made), CAFFE_INVALID_ARGUMENT);
  EXPECT_EQ(caffe_image_resize(bytes, 4, extents, 1 << 30, 2, &made), CAFFE_INVALID_ARGUMENT);
  EXPECT_THAT(caffe_last_error(), HasSubstr("1073741824 x 2"));
  EXPECT_EQ(made, nullptr);
}

}  // namespace
}  // namespace caffe::testing
