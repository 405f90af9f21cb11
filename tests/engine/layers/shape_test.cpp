#include <gtest/gtest.h>

#include "engine/layers/coverage.h"
#include "engine/layers/shaped_fixture.h"

namespace caffe::testing {
namespace {

struct ShapeCase {
  std::string name;
  std::string layer;
  std::vector<Shape> bottoms;
  std::vector<Shape> tops;
  bool batch_is_fixed = false;  // axis 0 is held by weights or by another bottom
};
void PrintTo(const ShapeCase& test, std::ostream* out) { *out << test.name; }

std::vector<ShapeCase> shape_cases() {
  const auto convolution = [](const std::string& p) {
    return "type: 'Convolution' convolution_param { " + p + " }";
  };
  const auto pooling = [](const std::string& p) {
    return "type: 'Pooling' pooling_param { " + p + " }";
  };
  const auto reshape = [](const std::string& p) {
    return "type: 'Reshape' reshape_param { " + p + " }";
  };
  const Shape image{2, 3, 7, 8};
  return {
      {"Convolution_floors",
       convolution("num_output: 4 kernel_size: 3 stride: 2"),
       {image},
       {{2, 4, 3, 3}}},
      {"Convolution_dilated",
       convolution("num_output: 4 kernel_size: 3 dilation: 2 pad: 1"),
       {image},
       {{2, 4, 5, 6}}},
      {"Convolution_hw",
       convolution("num_output: 4 kernel_h: 1 kernel_w: 3 pad_w: 2"),
       {image},
       {{2, 4, 7, 10}}},
      {"Convolution_axis2",
       convolution("num_output: 4 kernel_size: 3 axis: 2"),
       {{2, 3, 7, 8}},
       {{2, 3, 4, 6}}},
      {"Convolution_3d",
       convolution("num_output: 4 kernel_size: 1 kernel_size: 2 kernel_size: 3"),
       {{2, 1, 4, 4, 4}},
       {{2, 4, 4, 3, 2}}},
      {"Pooling_ceils", pooling("kernel_size: 2 stride: 2"), {image}, {{2, 3, 4, 4}}},
      {"Pooling_floors",
       pooling("kernel_size: 2 stride: 2 round_mode: FLOOR"),
       {image},
       {{2, 3, 3, 4}}},
      {"Pooling_clips", pooling("kernel_size: 2 stride: 2 pad: 1"), {{1, 1, 6, 7}}, {{1, 1, 4, 4}}},
      {"Pooling_clips_last_window",
       pooling("kernel_size: 2 stride: 3 pad: 1"),
       {{1, 1, 5, 6}},
       {{1, 1, 2, 3}}},
      {"Pooling_kernel_larger_than_input",
       pooling("kernel_size: 3 stride: 2"),
       {{1, 1, 2, 2}},
       {{1, 1, 1, 1}}},
      {"Pooling_global", pooling("global_pooling: true"), {image}, {{2, 3, 1, 1}}},
      {"Pooling_mask", pooling("kernel_size: 7"), {image}, {{2, 3, 1, 2}, {2, 3, 1, 2}}},
      {"InnerProduct_axis1",
       "type: 'InnerProduct' inner_product_param { num_output: 5 }",
       {image},
       {{2, 5}}},
      {"InnerProduct_last_axis",
       "type: 'InnerProduct' inner_product_param { num_output: 5 axis: -1 }",
       {image},
       {{2, 3, 7, 5}}},
      {"InnerProduct_axis0",
       "type: 'InnerProduct' inner_product_param { num_output: 5 axis: 0 }",
       {image},
       {{5}},
       true},
      {"AbsVal_same", "type: 'AbsVal'", {{2, 3, 4}}, {{2, 3, 4}}},
      {"BNLL_same", "type: 'BNLL'", {{2, 3, 4}}, {{2, 3, 4}}},
      {"ELU_same", "type: 'ELU'", {{2, 3, 4}}, {{2, 3, 4}}},
      {"Exp_same", "type: 'Exp'", {{2, 3, 4}}, {{2, 3, 4}}},
      {"Log_same", "type: 'Log'", {{2, 3, 4}}, {{2, 3, 4}}},
      {"Power_same", "type: 'Power'", {{2, 3, 4}}, {{2, 3, 4}}},
      {"PReLU_same", "type: 'PReLU'", {{2, 3, 4}}, {{2, 3, 4}}},
      {"MVN_same", "type: 'MVN'", {{2, 3, 4}}, {{2, 3, 4}}},
      {"Swish_same", "type: 'Swish'", {{2, 3, 4}}, {{2, 3, 4}}},
      {"Threshold_same", "type: 'Threshold'", {{2, 3, 4}}, {{2, 3, 4}}},
      {"Clip_same", "type: 'Clip' clip_param { min: 0 max: 1 }", {{2, 3}}, {{2, 3}}},
      {"ArgMax_flat", "type: 'ArgMax' argmax_param { top_k: 2 }", {{2, 3, 4}}, {{2, 1, 2}}},
      {"ArgMax_values",
       "type: 'ArgMax' argmax_param { top_k: 2 out_max_val: true }",
       {{2, 3, 4, 5}},
       {{2, 2, 2, 1}}},
      {"ArgMax_axis",
       "type: 'ArgMax' argmax_param { top_k: 2 axis: 1 }",
       {{2, 3, 4, 5}},
       {{2, 2, 4, 5}}},
      {"BatchReindex_rows", "type: 'BatchReindex'", {{5, 2, 3}, {4}}, {{4, 2, 3}}, true},
      {"Crop_default", "type: 'Crop'", {{2, 3, 7, 8}, {1, 9, 4, 5}}, {{2, 3, 4, 5}}},
      {"Crop_axis1",
       "type: 'Crop' crop_param { axis: 1 offset: 0 }",
       {{2, 3, 7, 8}, {1, 2, 4, 5}},
       {{2, 2, 4, 5}}},
      {"Deconvolution_grows",
       "type: 'Deconvolution' convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 }",
       {{2, 3, 7, 8}},
       {{2, 4, 14, 16}}},
      {"Deconvolution_dilated",
       "type: 'Deconvolution' convolution_param { num_output: 4 kernel_size: 3 dilation: 2 }",
       {{2, 3, 7, 8}},
       {{2, 4, 11, 12}}},
      {"Im2col_columns",
       "type: 'Im2col' convolution_param { kernel_size: 3 pad: 1 stride: 2 }",
       {{2, 3, 7, 8}},
       {{2, 27, 4, 4}}},
      {"Embed_rows",
       "type: 'Embed' embed_param { input_dim: 9 num_output: 4 }",
       {{5, 2}},
       {{5, 2, 4}}},
      {"Filter_all_at_first", "type: 'Filter'", {{5, 2}, {5, 3}, {5}}, {{5, 2}, {5, 3}}},
      {"Parameter_given",
       "type: 'Parameter' parameter_param { shape { dim: 3 dim: 4 } }",
       {},
       {{3, 4}}},
      {"Reduction_all", "type: 'Reduction'", {{2, 3, 4}}, {{}}},
      {"Reduction_trailing",
       "type: 'Reduction' reduction_param { axis: 2 }",
       {{2, 3, 4}},
       {{2, 3}}},
      {"Slice_points",
       "type: 'Slice' slice_param { slice_point: 1 }",
       {{2, 5, 3}},
       {{2, 1, 3}, {2, 4, 3}}},
      {"Tile_channels", "type: 'Tile' tile_param { tiles: 3 }", {{2, 5, 3}}, {{2, 15, 3}}},
      {"SPP_pyramid", "type: 'SPP' spp_param { pyramid_height: 3 }", {{2, 3, 7, 8}}, {{2, 63}}},
      {"SPP_one", "type: 'SPP' spp_param { pyramid_height: 1 }", {{2, 3, 7, 8}}, {{2, 3, 1, 1}}},
      {"HingeLoss_scalar", "type: 'HingeLoss'", {{4, 3}, {4}}, {{}}},
      {"MultinomialLogisticLoss_scalar", "type: 'MultinomialLogisticLoss'", {{4, 3}, {4}}, {{}}},
      {"SigmoidCrossEntropyLoss_scalar", "type: 'SigmoidCrossEntropyLoss'", {{4, 3}, {4, 3}}, {{}}},
      {"ContrastiveLoss_scalar", "type: 'ContrastiveLoss'", {{4, 3}, {4, 3, 1, 1}, {4}}, {{}}},
      {"ContrastiveLoss_one_value", "type: 'ContrastiveLoss'", {{4}, {4}, {4}}, {{}}},
      {"MVN_one_axis", "type: 'MVN'", {{4}}, {{4}}},
      {"Flatten_nothing",
       "type: 'Flatten' flatten_param { axis: 2 end_axis: 1 }",
       {{2, 3, 4}},
       {{2, 3, 1, 4}}},
      {"Crop_by_more_axes", "type: 'Crop' crop_param { axis: 1 }", {{2, 5}, {2, 3, 4}}, {{2, 3}}},
      {"InfogainLoss_two", "type: 'InfogainLoss'", {{4, 3}, {4}, {3, 3}}, {{}, {4, 3}}},
      {"RNN_plain",
       "type: 'RNN' recurrent_param { num_output: 5 }",
       {{4, 2, 3}, {4, 2}},
       {{4, 2, 5}}},
      {"LSTM_exposed",
       "type: 'LSTM' recurrent_param { num_output: 5 expose_hidden: true }",
       {{4, 2, 3, 2}, {4, 2}, {1, 2, 5}, {1, 2, 5}},
       {{4, 2, 5}, {1, 2, 5}, {1, 2, 5}},
       true},
      {"LSTMUnit_step", "type: 'LSTMUnit'", {{1, 3, 2}, {1, 3, 8}, {1, 3}}, {{1, 3, 2}, {1, 3, 2}}},
      {"LRN_same", "type: 'LRN'", {image}, {image}},
      {"BatchNorm_same", "type: 'BatchNorm'", {image}, {image}},
      {"Scale_same", "type: 'Scale'", {image}, {image}},
      {"Scale_negative_axis", "type: 'Scale' scale_param { axis: -2 }", {image, {7}}, {image}},
      {"Bias_same", "type: 'Bias' bias_param { axis: 0 num_axes: -1 }", {image}, {image}, true},
      {"Eltwise_same", "type: 'Eltwise'", {image, image}, {image}},
      {"Concat_channels", "type: 'Concat'", {image, {2, 1, 7, 8}}, {{2, 4, 7, 8}}},
      {"Concat_old_field",
       "type: 'Concat' concat_param { concat_dim: 0 }",
       {image, image},
       {{4, 3, 7, 8}}},
      {"Concat_last_axis", "type: 'Concat' concat_param { axis: -1 }", {{2, 3}, {2, 4}}, {{2, 7}}},
      {"Reshape_copies_and_infers",
       reshape("shape { dim: 0 dim: 4 dim: -1 }"),
       {image},
       {{2, 4, 42}}},
      {"Reshape_inside",
       reshape("shape { dim: 8 dim: 7 } axis: 2 num_axes: 2"),
       {image},
       {{2, 3, 8, 7}}},
      {"Reshape_inserts", reshape("shape { dim: 1 } axis: -1 num_axes: 0"), {{2, 3}}, {{2, 3, 1}}},
      {"Reshape_to_scalar", reshape("shape { }"), {{1, 1}}, {Shape()}},
      {"Flatten_default", "type: 'Flatten'", {image}, {{2, 168}}},
      {"Flatten_middle",
       "type: 'Flatten' flatten_param { axis: 1 end_axis: -2 }",
       {image},
       {{2, 21, 8}}},
      {"Split_two", "type: 'Split'", {image}, {image, image}},
      {"Silence_any", "type: 'Silence'", {image, {3}}, {}},
      {"ReLU_same", "type: 'ReLU'", {image}, {image}},
      {"ReLU6_same", "type: 'ReLU6'", {image}, {image}},
      {"Axpy_same", "type: 'Axpy'", {{2, 3}, image, image}, {image}},
      {"ConvolutionDepthwise_keeps_channels",
       "type: 'ConvolutionDepthwise' convolution_param { kernel_size: 3 stride: 2 }",
       {image},
       {{2, 3, 3, 3}}},
      {"DepthwiseConvolution_grouped",
       "type: 'DepthwiseConvolution' convolution_param { num_output: 6 kernel_size: 3 group: 3 }",
       {image},
       {{2, 6, 5, 6}}},
      {"Permute_channels_last",
       "type: 'Permute' permute_param { order: 0 order: 2 order: 3 order: 1 }",
       {image},
       {{2, 7, 8, 3}}},
      {"Permute_rest_follows",
       "type: 'Permute' permute_param { order: 3 }",
       {image},
       {{8, 2, 3, 7}},
       true},
      {"Normalize_same", "type: 'Normalize'", {image}, {image}},
      {"PriorBox_one_for_all_images",
       "type: 'PriorBox' prior_box_param { min_size: 3 max_size: 4 aspect_ratio: 2 aspect_ratio: 3 "
       "}",
       {image, {2, 3, 70, 80}},
       {{1, 2, 7 * 8 * 6 * 4}},
       true},
      {"DetectionOutput_one_at_first",
       "type: 'DetectionOutput' detection_output_param { num_classes: 3 share_location: false }",
       {{2, 60}, {2, 15}, {1, 2, 20}},
       {{1, 1, 1, 7}}},
      {"ROIPooling_by_region",
       "type: 'ROIPooling' roi_pooling_param { pooled_h: 4 pooled_w: 5 }",
       {image, {9, 5, 1, 1}},
       {{9, 3, 4, 5}},
       true},
      {"Interp_zoom", "type: 'Interp' interp_param { zoom_factor: 4 }", {image}, {{2, 3, 25, 29}}},
      {"Interp_shrink",
       "type: 'Interp' interp_param { shrink_factor: 3 }",
       {image},
       {{2, 3, 3, 3}}},
      {"Interp_shrink_and_zoom",
       "type: 'Interp' interp_param { shrink_factor: 2 zoom_factor: 3 pad_beg: -1 }",
       {image},
       {{2, 3, 7, 10}}},
      {"Interp_second_bottom", "type: 'Interp'", {image, {2, 1, 5, 9}}, {{2, 3, 5, 9}}},
      {"Upsample_repeated",
       "type: 'Upsample' upsample_param { scale: 2 }",
       {image},
       {{2, 3, 14, 16}}},
      {"Upsample_mask", "type: 'Upsample'", {image, image}, {{2, 3, 14, 16}}},
      {"Upsample_mask_padded",
       "type: 'Upsample' upsample_param { scale: 2 pad_out_h: true }",
       {image, image},
       {{2, 3, 13, 16}}},
      {"Upsample_mask_size",
       "type: 'Upsample' upsample_param { scale: 2 upsample_h: 15 upsample_w: 17 }",
       {image, image},
       {{2, 3, 15, 17}}},
      {"ShuffleChannel_same",
       "type: 'ShuffleChannel' shuffle_channel_param { group: 3 }",
       {image},
       {image}},
      {"TanH_same", "type: 'TanH'", {image}, {image}},
      {"Sigmoid_same", "type: 'Sigmoid'", {Shape()}, {Shape()}},
      {"Dropout_same", "type: 'Dropout'", {image}, {image}},
      {"Softmax_same", "type: 'Softmax'", {image}, {image}},
      {"SoftmaxWithLoss_scalar", "type: 'SoftmaxWithLoss'", {image, {2, 1, 7, 8}}, {Shape()}},
      {"SoftmaxWithLoss_probabilities",
       "type: 'SoftmaxWithLoss'",
       {{4, 3}, {4}},
       {Shape(), {4, 3}}},
      {"EuclideanLoss_scalar", "type: 'EuclideanLoss'", {{4, 3, 2}, {4, 6}}, {Shape()}},
      {"Accuracy_per_class", "type: 'Accuracy'", {{4, 3}, {4}}, {Shape(), {3}}},
      {"Input_one_shape_for_all",
       "type: 'Input' input_param { shape { dim: 2 dim: 3 } }",
       {},
       {{2, 3}, {2, 3}}},
      {"DummyData_old_fields",
       "type: 'DummyData' dummy_data_param { num: 2 channels: 3 channels: 4 height: 1 width: 5 }",
       {},
       {{2, 3, 1, 5}, {2, 4, 1, 5}}},
      {"MemoryData_batch",
       "type: 'MemoryData' memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 }",
       {},
       {{2, 3, 4, 5}, {2, 1, 1, 1}}},
  };
}

class ShapeRule : public ::testing::TestWithParam<ShapeCase> {};

TEST_P(ShapeRule, GivesTopsTheirShape) {
  const ShapeCase& test = GetParam();
  const auto f = fixture(test.layer, test.bottoms, static_cast<int>(test.tops.size()));
  f->set_up();
  for (size_t i = 0; i < test.tops.size(); ++i)
    EXPECT_EQ(f->top[i]->shape().str(), test.tops[i].str());
}

INSTANTIATE_TEST_SUITE_P(Layers, ShapeRule, ::testing::ValuesIn(shape_cases()),
                         [](const ::testing::TestParamInfo<ShapeCase>& info) {
                           return info.param.name;
                         });

// Cases whose first bottom is a batch of images.
std::vector<ShapeCase> batch_cases() {
  std::vector<ShapeCase> some;
  for (const ShapeCase& test : shape_cases()) {
    const bool images =
        !test.bottoms.empty() && test.bottoms[0].axes() >= 3 && test.bottoms[0][0] > 1;
    if (images && !test.batch_is_fixed) some.push_back(test);
  }
  return some;
}

class BatchSize : public ::testing::TestWithParam<ShapeCase> {};

// A last batch may be smaller: the tops follow, and go back.
TEST_P(BatchSize, IsFollowed) {
  const ShapeCase& test = GetParam();
  const auto f = fixture(test.layer, test.bottoms, static_cast<int>(test.tops.size()));
  f->set_up();
  for (const int64_t batch : {int64_t{1}, test.bottoms[0][0]}) {
    for (size_t i = 0; i < test.bottoms.size(); ++i) {
      Shape shape = test.bottoms[i];
      if (shape[0] == test.bottoms[0][0]) shape[0] = batch;
      f->bottom_shaped(concat("x", i), shape);
    }
    f->reshape();
    for (size_t i = 0; i < test.tops.size(); ++i) {
      Shape expected = test.tops[i];
      if (expected.axes() > 0) expected[0] = expected[0] / test.bottoms[0][0] * batch;
      EXPECT_EQ(f->top[i]->shape().str(), expected.str());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layers, BatchSize, ::testing::ValuesIn(batch_cases()),
                         [](const ::testing::TestParamInfo<ShapeCase>& info) {
                           return info.param.name;
                         });

TEST(ShapeRuleTable, HasEveryLayer) {
  std::set<std::string> covered;
  for (const ShapeCase& test : shape_cases())
    covered.insert(test.name.substr(0, test.name.find('_')));
  EXPECT_EQ(uncovered_layers(covered, {{"Data", "tests/engine/data"},
                                       {"ImageData", "image_data_test.cpp"},
                                       {"WindowData", "image_data_test.cpp"},
                                       {"HDF5Output", "image_data_test.cpp"},
                                       {"HDF5Data", "tests/engine/data"},
                                       {"CoSData", "tests/engine/data"}}),
            "");
}

}  // namespace
}  // namespace caffe::testing
