#include "backends/cpu/onednn/dnnl_layout.h"

#include <thread>

#include "core/bf16.h"
#include "engine/backends/small_net.h"

namespace caffe::testing {
namespace {

using onednn::Desc;
using onednn::Dims;
using onednn::DnnlLayout;
using Tag = dnnl::memory::format_tag;

Desc desc(const Dims& dims, Tag tag) { return Desc(dims, dnnl::memory::data_type::f32, tag); }

LayoutPtr layout(const Dims& dims, Tag tag) { return onednn::layout_of(desc(dims, tag)); }

TEST(DnnlLayout, ConvertsThereAndBackExactly) {
  const Dims dims = {3, 21, 5, 7};
  Buffer buffer;
  buffer.resize(3 * 21 * 5 * 7);
  SmallNet::fill(buffer, 1, false);
  const std::vector<double> before = SmallNet::values(buffer);
  for (const Tag tag : {Tag::nChw16c, Tag::nhwc, Tag::nChw8c, Tag::nChw16c}) {
    buffer.update(buffer.representation(layout(dims, tag)));
  }
  EXPECT_EQ(SmallNet::values(buffer), before);
}

TEST(DnnlLayout, ANewLayoutGetsTheElementsInItsOrder) {
  Buffer buffer;
  buffer.resize(6);
  auto* plain = static_cast<float*>(buffer.write());
  for (int i = 0; i < 6; ++i) plain[i] = static_cast<float>(i);
  const auto* columns =
      static_cast<const float*>(buffer.read(buffer.representation(layout({2, 3}, Tag::ba))));
  EXPECT_EQ(std::vector<float>(columns, columns + 6), (std::vector<float>{0, 3, 1, 4, 2, 5}));
}

TEST(DnnlLayout, EqualFormatsAreOneRepresentation) {
  Buffer buffer;
  buffer.resize(2 * 20 * 3 * 3);
  const int first = buffer.representation(layout({2, 20, 3, 3}, Tag::nChw16c));
  EXPECT_EQ(buffer.representation(layout({2, 20, 3, 3}, Tag::nChw16c)), first);
  EXPECT_NE(buffer.representation(layout({2, 20, 3, 3}, Tag::nhwc)), first);
  EXPECT_EQ(buffer.representation(layout({2, 20, 3, 3}, Tag::nchw)), 0)
      << "row-major is the plain one";
  EXPECT_EQ(buffer.representation(layout({6, 1, 60}, Tag::acb)), 0) << "extents of 1 have no place";
}

TEST(DnnlLayout, RoundedNumbersGoFromOneViewOfTheAxesToAnother) {
  const auto bf16 = [](const Dims& dims, Tag tag) {
    return onednn::layout_of(Desc(dims, onednn::NumberType::bf16, tag));
  };
  Buffer buffer;
  buffer.resize(2 * 20 * 3 * 3);
  SmallNet::fill(buffer, 1, true);  // whole numbers: nothing is rounded
  const std::vector<double> before = SmallNet::values(buffer);
  const int image = buffer.representation(bf16({2, 20, 3, 3}, Tag::nChw16c));
  const int row = buffer.representation(bf16({2, 180}, Tag::ab));
  const int columns = buffer.representation(bf16({2, 180}, Tag::ba));
  for (const int index : {image, row, image, row, columns, image, columns}) buffer.update(index);
  EXPECT_EQ(SmallNet::values(buffer), before);
  EXPECT_EQ(buffer.bytes(row), 2 * 180 * sizeof(BF16));
}

TEST(DnnlLayout, AnOrderOfRoundedNumbersHasItsLikeInFloats) {
  const Dims dims = {2, 20, 3, 3};
  const auto bf16 = [&](Tag tag) { return Desc(dims, onednn::NumberType::bf16, tag); };
  EXPECT_EQ(onednn::as_float(bf16(Tag::nChw16c)), desc(dims, Tag::nChw16c));
  EXPECT_EQ(onednn::as_float(bf16(Tag::nhwc)), desc(dims, Tag::nhwc));
  EXPECT_EQ(onednn::as_float(bf16(Tag::nchw)), desc(dims, Tag::nchw));
  EXPECT_EQ(onednn::as_float(desc(dims, Tag::nChw8c)), desc(dims, Tag::nChw8c));
  EXPECT_EQ(onednn::as_float(bf16(Tag::nChw8c)), desc(dims, Tag::nchw)) << "none is known";
}

TEST(DnnlLayout, NamesFormatsAsOnednnDoes) {
  EXPECT_EQ(onednn::format_name(desc({2, 20, 3, 3}, Tag::nChw16c)), "aBcd16b");
  EXPECT_EQ(onednn::format_name(desc({2, 20, 3, 3}, Tag::nhwc)), "acdb");
  EXPECT_EQ(onednn::format_name(desc({32, 32, 3, 3}, Tag::OIhw16i16o)), "ABcd16b16a");
}

const char* const kChain =
    "layer { name: 'c1' type: 'Convolution' bottom: 'x' top: 'c1' convolution_param { num_output: "
    "20 kernel_size: 3 } }"
    "layer { name: 'r1' type: 'ReLU' bottom: 'c1' top: 'c1' }"
    "layer { name: 'p1' type: 'Pooling' bottom: 'c1' top: 'p1' pooling_param { kernel_size: 3 "
    "stride: 2 } }"
    "layer { name: 'c2' type: 'Convolution' bottom: 'p1' top: 'c2' convolution_param { num_output: "
    "33 kernel_size: 3 } }"
    "layer { name: 'r2' type: 'ReLU' bottom: 'c2' top: 'r2' }"
    "layer { name: 'p2' type: 'Pooling' bottom: 'r2' top: 'p2' pooling_param { pool: AVE "
    "kernel_size: 2 stride: 2 } }"
    "layer { name: 'i1' type: 'InnerProduct' bottom: 'p2' top: 'i1' inner_product_param { "
    "num_output: 19 } }"
    "layer { name: 'r3' type: 'ReLU' bottom: 'i1' top: 'i1' }"
    "layer { name: 'i2' type: 'InnerProduct' bottom: 'i1' top: 'y' inner_product_param { "
    "num_output: 10 } }";
const std::map<std::string, Shape> kInput = {{"x", {4, 3, 18, 18}}};

TEST(OnednnChain, EqualsPortableFusedAndUnfused) {
  for (const bool fuse : {false, true}) {
    expect_equal_to_portable(kChain, kInput, {"y"}, {.fuse = fuse});
    expect_equal_to_portable(kChain, kInput, {"y"},
                             {.phase = TEST, .backward = false, .fuse = fuse});
  }
}

TEST(OnednnChain, PassesBlockedLayoutsAlongWithoutPlainCopies) {
  SmallNet net(kChain, kInput, {.backend = "onednn", .fuse = true});
  net.forward();
  net.set_gradient("y", 1);
  net.backward();
  for (const char* name : {"c1", "p1", "c2", "r2", "p2"}) {
    Blob& blob = net.blob(name);
    // Memory of one representation only: nobody asked for another.
    EXPECT_LT(blob.data().bytes(), 2 * static_cast<size_t>(blob.count()) * sizeof(float) * 48 / 33)
        << name;
    EXPECT_NE(blob.data().current(), 0) << name;
    EXPECT_NE(blob.diff().current(), 0) << name;
  }
}

TEST(OnednnChain, HeldViewsSeeAndSteerBlockedData) {
  SmallNet net(kChain, kInput, {.backend = "onednn"});
  SmallNet oracle(kChain, kInput, {.dtype = DType::kF64});
  net.forward();
  const auto weights = net.layer(0).blobs()[0]->data().pin();
  const auto pooled = net.blob("p1").data().pin();
  static_cast<float*>(weights->storage->data())[5] = 2.5f;
  static_cast<double*>(oracle.layer(0).blobs()[0]->data().update())[5] = 2.5;
  for (Buffer* buffer : {&net.layer(0).blobs()[0]->data(), &net.blob("p1").data()})
    buffer->begin_pass();
  net.forward();
  oracle.forward();
  for (Buffer* buffer : {&net.layer(0).blobs()[0]->data(), &net.blob("p1").data()})
    buffer->end_pass();
  expect_near(net.data("y"), oracle.data("y"), "output");
  const auto* view = static_cast<const float*>(pooled->storage->data());
  expect_near(std::vector<double>(view, view + net.blob("p1").count()), oracle.data("p1"),
              "held view");
}

TEST(OnednnChain, NetsRunInSeveralThreadsAtOnce) {
  SmallNet oracle(kChain, kInput, {.backend = "onednn", .fuse = true});
  oracle.forward();
  const std::vector<double> expected = oracle.data("y");
  std::vector<std::vector<double>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&result] {
      SmallNet net(kChain, kInput, {.backend = "onednn", .fuse = true});
      for (int i = 0; i < 20; ++i) {
        net.clear_gradients();
        net.forward();
        net.set_gradient("y", 1);
        net.backward();
      }
      result = net.data("y");
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

}  // namespace
}  // namespace caffe::testing
