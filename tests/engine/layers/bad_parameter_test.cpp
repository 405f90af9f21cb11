#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "engine/layers/coverage.h"
#include "engine/layers/shaped_fixture.h"

// What each layer says about parameters, bottoms and values that do not fit.

namespace caffe::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct BadCase {
  std::string name;
  std::string layer;
  std::vector<Shape> bottoms;
  std::vector<std::string> said;  // all of them are in the message
  int tops = 1;
};
void PrintTo(const BadCase& test, std::ostream* out) { *out << test.name; }

std::vector<BadCase> convolution_cases() {
  const auto convolution = [](const std::string& p) {
    return "type: 'Convolution' convolution_param { " + p + " }";
  };
  const Shape image{2, 3, 4, 4};
  return {
      {"Convolution_no_kernel",
       convolution("num_output: 2"),
       {image},
       {"kernel_size", "found 0 values for 2 spatial"}},
      {"Convolution_no_output", convolution("kernel_size: 1"), {image}, {"num_output"}},
      {"Convolution_group",
       convolution("num_output: 2 kernel_size: 1 group: 2"),
       {image},
       {"group 2", "3 channels"}},
      {"Convolution_group_zero",
       convolution("num_output: 2 kernel_size: 1 group: 0"),
       {image},
       {"group 0"}},
      {"Convolution_stride",
       convolution("num_output: 2 kernel_size: 1 stride: 0"),
       {image},
       {"stride", "positive"}},
      {"Convolution_too_large",
       convolution("num_output: 2 kernel_size: 5"),
       {image},
       {"spans 5 pixels", "2 3 4 4 (96)"}},
      {"Convolution_two_kernels",
       convolution("num_output: 2 kernel_size: 1 kernel_h: 1 kernel_w: 1"),
       {image},
       {"kernel_size_h/_w", "give one"}},
      {"Convolution_half_kernel",
       convolution("num_output: 2 kernel_h: 1"),
       {image},
       {"only one of"}},
      {"Convolution_hw_in_3d",
       convolution("num_output: 2 kernel_h: 1 kernel_w: 1"),
       {{2, 3, 4, 4, 4}},
       {"2 spatial axes, found 3"}},
      {"Convolution_kernel_count",
       convolution("num_output: 2 kernel_size: [1, 1, 1]"),
       {image},
       {"found 3 values for 2 spatial axes"}},
      {"Convolution_axis",
       convolution("num_output: 2 kernel_size: 1 axis: 4"),
       {image},
       {"axis 4 is out of range"}},
      {"Convolution_bottoms_differ",
       convolution("num_output: 2 kernel_size: 1"),
       {image, {1, 3, 4, 4}},
       {"bottom 1 has shape 1 3 4 4", "same shape"},
       2},
      {"Convolution_filler",
       convolution("num_output: 2 kernel_size: 1 weight_filler { type: 'foo' }"),
       {image},
       {"Unknown filler type: foo (known types: bilinear, constant"}},
  };
}

std::vector<BadCase> caffe_1_0_cases() {
  return {
      {"ArgMax_top_k",
       "type: 'ArgMax' argmax_param { top_k: 13 }",
       {{2, 3, 4}},
       {"top_k 13", "1 to 12"}},
      {"Axpy_factors",
       "type: 'Axpy'",
       {{2, 3}, {2, 4, 5}, {2, 4, 5}},
       {"factors of shape 2 3", "expected 2 4"}},
      {"Axpy_shapes", "type: 'Axpy'", {{2, 4}, {2, 4, 5}, {2, 4}}, {"the same shape"}},
      {"BatchReindex_axes", "type: 'BatchReindex'", {{5, 2}, {4, 2}}, {"indices of shape 4 2"}},
      {"Clip_no_max", "type: 'Clip' clip_param { min: 0 max: -1 }", {{2}}, {"min 0 above max -1"}},
      {"ContrastiveLoss_shapes",
       "type: 'ContrastiveLoss'",
       {{4, 3}, {4, 2}, {4}},
       {"4 3", "4 2", "same extents"}},
      {"ContrastiveLoss_planes",
       "type: 'ContrastiveLoss'",
       {{4, 3, 2}, {4, 3, 2}, {4}},
       {"4 3 2", "x 1 x 1"}},
      {"ContrastiveLoss_labels",
       "type: 'ContrastiveLoss'",
       {{4, 3}, {4, 3}, {5}},
       {"found 5 labels for 4 pairs"}},
      {"Crop_outside",
       "type: 'Crop' crop_param { offset: 4 }",
       {{1, 2, 7, 8}, {1, 2, 4, 4}},
       {"[4, 8)", "axis 2"}},
      {"Crop_offsets",
       "type: 'Crop' crop_param { offset: [1, 1, 1] }",
       {{1, 2, 7, 8}, {1, 2, 4, 4}},
       {"found 3 offsets", "each of the 2 axes"}},
      {"Crop_axes", "type: 'Crop'", {{1, 2, 7, 8}, {2, 4, 4}}, {"as many axes as the first"}},
      {"Deconvolution_no_kernel",
       "type: 'Deconvolution' convolution_param { num_output: 2 }",
       {{1, 2, 3, 3}},
       {"kernel_size", "found 0 values"}},
      {"Deconvolution_padding",
       "type: 'Deconvolution' convolution_param { num_output: 2 kernel_size: 1 pad: 2 }",
       {{1, 2, 3, 3}},
       {"leaves nothing of the top"}},
      {"Embed_sizes",
       "type: 'Embed' embed_param { num_output: 4 }",
       {{5}},
       {"input_dim 0", "must be positive"}},
      {"Exp_base", "type: 'Exp' exp_param { base: 0 }", {{2}}, {"base 0", "positive"}},
      {"Log_base", "type: 'Log' log_param { base: 1 }", {{2}}, {"base 1", "not 1"}},
      {"Filter_tops", "type: 'Filter'", {{5, 2}, {5}}, {"found 2 tops for 2 bottoms"}, 2},
      {"Filter_selector", "type: 'Filter'", {{5, 2}, {5, 2}}, {"selector of shape 5 2"}},
      {"Filter_rows", "type: 'Filter'", {{4, 2}, {5}}, {"as many rows as the selector, 5"}},
      {"HingeLoss_labels",
       "type: 'HingeLoss'",
       {{4, 3}, {5}},
       {"found 5 labels", "for 4 predictions"}},
      {"MultinomialLogisticLoss_labels",
       "type: 'MultinomialLogisticLoss'",
       {{4, 3}, {5}},
       {"found 5 labels", "for 4 predictions"}},
      {"SigmoidCrossEntropyLoss_targets",
       "type: 'SigmoidCrossEntropyLoss'",
       {{4, 3}, {4}},
       {"found 4 targets", "for 12 predictions"}},
      {"InfogainLoss_nothing", "type: 'InfogainLoss'", {{4, 3}, {4}}, {"needs the matrix H"}},
      {"InfogainLoss_file",
       "type: 'InfogainLoss' infogain_loss_param { source: '/no/such/H' }",
       {{4, 3}, {4}},
       {"/no/such/H"}},
      {"InfogainLoss_matrix",
       "type: 'InfogainLoss'",
       {{4, 3}, {4}, {2, 2}},
       {"matrix H of 4 numbers for 3 classes"}},
      {"Im2col_large",
       "type: 'Im2col' convolution_param { kernel_size: 5 }",
       {{1, 2, 3, 3}},
       {"spans 5 pixels"}},
      {"LSTM_no_output", "type: 'LSTM'", {{4, 2, 3}, {4, 2}}, {"num_output must be given"}},
      {"LSTM_no_steps",
       "type: 'LSTM' recurrent_param { num_output: 3 }",
       {{0, 2, 3}, {0, 2}},
       {"at least one time step"}},
      {"LSTM_cont",
       "type: 'LSTM' recurrent_param { num_output: 3 }",
       {{4, 2, 3}, {2, 4}},
       {"cont", "expected 4 2"}},
      {"RNN_no_output", "type: 'RNN'", {{4, 2, 3}, {4, 2}}, {"num_output must be given"}},
      {"RNN_static",
       "type: 'RNN' recurrent_param { num_output: 3 }",
       {{4, 2, 3}, {4, 2}, {3, 5}},
       {"static input", "expected 2 rows"}},
      {"LSTMUnit_gates",
       "type: 'LSTMUnit'",
       {{1, 3, 2}, {1, 3, 6}, {1, 3}},
       {"gates", "expected 1 3 8"},
       2},
      {"MVN_axes", "type: 'MVN'", {Shape()}, {"without axes"}},
      {"PReLU_axes", "type: 'PReLU'", {{5}}, {"at least 2 axes"}},
      {"Slice_uneven", "type: 'Slice'", {{2, 5}}, {"into 2 equal parts"}, 2},
      {"Slice_points",
       "type: 'Slice' slice_param { slice_point: 7 }",
       {{2, 5}},
       {"must rise from 1 to less than 5"},
       2},
      {"Slice_count",
       "type: 'Slice' slice_param { slice_point: 1 }",
       {{2, 5}},
       {"found 1 slice_points for 3 tops"},
       3},
      {"SPP_height", "type: 'SPP'", {{1, 2, 4, 4}}, {"pyramid_height 0"}},
      {"SPP_too_high",
       "type: 'SPP' spp_param { pyramid_height: 4 }",
       {{1, 2, 4, 4}},
       {"cannot cut 4 pixels into 8 bins"}},
      {"Tile_none", "type: 'Tile'", {{2, 3}}, {"tiles"}},
      {"Reduction_axis",
       "type: 'Reduction' reduction_param { axis: 3 }",
       {{2, 3}},
       {"axis 3 is out of range"}},
  };
}

std::vector<BadCase> pooling_cases() {
  const auto pooling = [](const std::string& p) {
    return "type: 'Pooling' pooling_param { " + p + " }";
  };
  const Shape image{2, 3, 4, 4};
  return {
      {"Pooling_pad",
       pooling("kernel_size: 2 pad: 2"),
       {image},
       {"pad must be smaller than the kernel", "2 and 2"}},
      {"Pooling_no_kernel",
       pooling("stride: 2"),
       {image},
       {"kernel_size or as kernel_h and kernel_w"}},
      {"Pooling_two_kernels",
       pooling("kernel_size: 2 kernel_h: 2 kernel_w: 2"),
       {image},
       {"either"}},
      {"Pooling_half_kernel",
       pooling("kernel_h: 2"),
       {image},
       {"only one of kernel_h and kernel_w"}},
      {"Pooling_half_stride",
       pooling("kernel_size: 2 stride_h: 2"),
       {image},
       {"only one of stride_h and stride_w"}},
      {"Pooling_two_strides",
       pooling("kernel_size: 2 stride: 1 stride_h: 2 stride_w: 2"),
       {image},
       {"both stride and"}},
      {"Pooling_half_pad",
       pooling("kernel_size: 2 pad_w: 1"),
       {image},
       {"only one of pad_h and pad_w"}},
      {"Pooling_two_pads",
       pooling("kernel_size: 2 pad: 1 pad_h: 1 pad_w: 1"),
       {image},
       {"both pad and"}},
      {"Pooling_zero_kernel", pooling("kernel_size: 0"), {image}, {"must be positive"}},
      {"Pooling_global_with_kernel",
       pooling("global_pooling: true kernel_size: 2"),
       {image},
       {"global_pooling"}},
      {"Pooling_global_with_stride",
       pooling("global_pooling: true stride: 2"),
       {image},
       {"stride 1 only"}},
      {"Pooling_too_large", pooling("kernel_size: 9"), {image}, {"larger than the padded height"}},
      {"Pooling_axes", pooling("kernel_size: 2"), {{2, 3}}, {"4 axes, found bottom 2 3 (6)"}},
      {"Pooling_stochastic_pad",
       pooling("pool: STOCHASTIC kernel_size: 2 pad: 1"),
       {image},
       {"padding is implemented for MAX and AVE"}},
  };
}

std::vector<BadCase> loss_cases() {
  return {
      {"SoftmaxWithLoss_label_count",
       "type: 'SoftmaxWithLoss'",
       {{2, 3, 4, 4}, {2}},
       {"found 2 labels (shape 2 (2)) for 32 predictions", "0 to 2"}},
      {"SoftmaxWithLoss_axis",
       "type: 'SoftmaxWithLoss' softmax_param { axis: 2 }",
       {{2, 3}, {2}},
       {"axis 2"}},
      {"SoftmaxWithLoss_samples",
       "type: 'SoftmaxWithLoss'",
       {{2, 3, 4, 4}, {32}},
       {"labels 32 (32)", "same first axis"}},
      {"SigmoidCrossEntropyLoss_samples",
       "type: 'SigmoidCrossEntropyLoss'",
       {{4, 3}, {12}},
       {"labels 12 (12)", "same first axis"}},
      {"EuclideanLoss_rows",
       "type: 'EuclideanLoss'",
       {{2, 3}, {3, 2}},
       {"2 3 (6) and 3 2 (6)", "number of rows"}},
      {"EuclideanLoss_columns", "type: 'EuclideanLoss'", {{2, 3}, {2, 4}}, {"values per row"}},
      {"EuclideanLoss_scalars", "type: 'EuclideanLoss'", {Shape(), Shape()}, {"rows"}},
      {"Accuracy_top_k",
       "type: 'Accuracy' accuracy_param { top_k: 4 }",
       {{2, 3}, {2}},
       {"top_k 4", "1 to 3"}},
      {"Accuracy_top_0",
       "type: 'Accuracy' accuracy_param { top_k: 0 }",
       {{2, 3}, {2}},
       {"top_k 0"}},
      {"Accuracy_label_count",
       "type: 'Accuracy'",
       {{2, 3}, {3}},
       {"found 3 labels", "for 2 predictions"}},
  };
}

std::vector<BadCase> shape_layer_cases() {
  const auto reshape = [](const std::string& p) {
    return "type: 'Reshape' reshape_param { " + p + " }";
  };
  const Shape image{2, 3, 4, 4};
  return {
      {"Reshape_not_divisible",
       reshape("shape { dim: 5 dim: -1 }"),
       {image},
       {"96", "divisible", "(5)"}},
      {"Reshape_count",
       reshape("shape { dim: 5 }"),
       {image},
       {"5 (5)", "2 3 4 4 (96)", "same count"}},
      {"Reshape_two_inferred",
       reshape("shape { dim: -1 dim: -1 }"),
       {image},
       {"only one can be inferred"}},
      {"Reshape_negative", reshape("shape { dim: -2 }"), {image}, {"extent -2"}},
      {"Reshape_copy_past_end",
       reshape("shape { dim: 96 dim: 1 dim: 1 dim: 1 dim: 0 }"),
       {image},
       {"copies axis 4"}},
      {"Reshape_axis", reshape("shape { dim: 96 } axis: 5"), {image}, {"axis 5", "out of range"}},
      {"Reshape_axes", reshape("shape { dim: 96 } axis: 3 num_axes: 2"), {image}, {"reach past"}},
      {"Reshape_num_axes", reshape("shape { dim: 96 } num_axes: -2"), {image}, {"num_axes -2"}},
      {"Flatten_order",
       "type: 'Flatten' flatten_param { axis: 3 end_axis: 1 }",
       {image},
       {"axis 3 after end_axis 1"}},
      {"Flatten_axis",
       "type: 'Flatten' flatten_param { axis: 4 }",
       {image},
       {"axis 4 is out of range"}},
      {"Concat_shapes",
       "type: 'Concat'",
       {image, {2, 3, 4, 5}},
       {"bottom 1 has shape 2 3 4 5", "all axes but 1"}},
      {"Concat_axes", "type: 'Concat'", {image, {2, 3, 4}}, {"bottom 1"}},
      {"Concat_both",
       "type: 'Concat' concat_param { axis: 1 concat_dim: 1 }",
       {image},
       {"both axis and concat_dim"}},
      {"Concat_dim",
       "type: 'Concat' concat_param { concat_dim: 4 }",
       {image},
       {"concat_dim 4 is out of range"}},
      {"Concat_axis",
       "type: 'Concat' concat_param { axis: -5 }",
       {image},
       {"axis -5 is out of range"}},
  };
}

std::vector<BadCase> other_cases() {
  const Shape image{2, 3, 4, 4};
  return {
      {"InnerProduct_no_output", "type: 'InnerProduct'", {image}, {"num_output"}},
      {"InnerProduct_axis",
       "type: 'InnerProduct' inner_product_param { num_output: 2 axis: 4 }",
       {image},
       {"axis 4"}},
      {"InnerProduct_empty",
       "type: 'InnerProduct' inner_product_param { num_output: 2 }",
       {{2, 0}},
       {"empty bottom"}},
      {"LRN_even",
       "type: 'LRN' lrn_param { local_size: 4 }",
       {image},
       {"local_size must be odd", "4"}},
      {"LRN_axes", "type: 'LRN'", {{2, 3}}, {"4 axes"}},
      {"BatchNorm_learned",
       "type: 'BatchNorm' param { lr_mult: 1 }",
       {image},
       {"lr_mult 1", "statistics"}},
      {"BatchNorm_scalar", "type: 'BatchNorm'", {Shape()}, {"scalar"}},
      {"Scale_axis", "type: 'Scale' scale_param { axis: 4 }", {image}, {"axis 4 is out of range"}},
      {"Scale_axes", "type: 'Scale' scale_param { axis: 3 num_axes: 2 }", {image}, {"reach past"}},
      {"Scale_num_axes", "type: 'Scale' scale_param { num_axes: -2 }", {image}, {"num_axes -2"}},
      {"Scale_second", "type: 'Scale'", {image, {4}}, {"shape 4 (4)", "2 3 4 4 (96) from axis 1"}},
      {"Bias_second",
       "type: 'Bias' bias_param { axis: 2 }",
       {image, {4, 4, 4}},
       {"does not match"}},
      {"Bias_axes", "type: 'Bias' bias_param { axis: 3 num_axes: 2 }", {image}, {"reach past"}},
      {"Eltwise_shapes",
       "type: 'Eltwise'",
       {image, {2}},
       {"bottom 1 has shape 2 (2)", "2 3 4 4 (96)"}},
      {"Eltwise_coeff_count",
       "type: 'Eltwise' eltwise_param { coeff: 1 }",
       {image, image},
       {"1 coeff for 2 bottoms"}},
      {"Eltwise_coeff",
       "type: 'Eltwise' eltwise_param { operation: PROD coeff: 1 coeff: 1 }",
       {image, image},
       {"PROD", "only SUM"}},
      {"Softmax_axis",
       "type: 'Softmax' softmax_param { axis: 2 }",
       {{2, 3}},
       {"axis 2 is out of range"}},
      {"Dropout_one",
       "type: 'Dropout' dropout_param { dropout_ratio: 1 }",
       {image},
       {"dropout_ratio", "found 1"}},
      {"Dropout_negative",
       "type: 'Dropout' dropout_param { dropout_ratio: -0.5 }",
       {image},
       {"found -0.5"}},
      {"Input_shapes",
       "type: 'Input' input_param { shape { dim: 1 } shape { dim: 1 } }",
       {},
       {"found 2 shapes for 3 tops"},
       3},
      {"Input_extent", "type: 'Input' input_param { shape { dim: -1 } }", {}, {"extent -1"}},
      {"MemoryData_no_batch",
       "type: 'MemoryData' memory_data_param { channels: 1 height: 1 width: 1 }",
       {},
       {"batch_size", "positive", "found 0, 1, 1, 1"},
       2},
      {"DummyData_shapes", "type: 'DummyData'", {}, {"found 0 shapes for 1 tops"}},
      {"DummyData_fillers",
       "type: 'DummyData' dummy_data_param { shape { dim: 1 } data_filler {} data_filler {} }",
       {},
       {"found 2 data_filler for 3 tops"},
       3},
      {"DummyData_extents",
       "type: 'DummyData' dummy_data_param { num: 1 channels: 1 height: 1 }",
       {},
       {"found 0 extents"}},
      {"DummyData_both",
       "type: 'DummyData' dummy_data_param { num: 1 shape { dim: 1 } }",
       {},
       {"found both shape"}},
      {"DummyData_filler",
       "type: 'DummyData' dummy_data_param { shape { dim: 1 } data_filler { type: 'foo' } }",
       {},
       {"Unknown filler type: foo"}},
  };
}

std::vector<BadCase> detection_cases() {
  const auto prior_box = [](const std::string& p) {
    return "type: 'PriorBox' prior_box_param { " + p + " }";
  };
  const auto detection = [](const std::string& p) {
    return "type: 'DetectionOutput' detection_output_param { num_classes: 3 " + p + " }";
  };
  const std::vector<Shape> maps = {{1, 3, 4, 4}, {1, 3, 16, 16}};
  const std::vector<Shape> predictions = {{2, 20}, {2, 15}, {1, 2, 20}};
  return {
      {"PriorBox_no_size", "type: 'PriorBox'", maps, {"needs min_size"}},
      {"PriorBox_size", prior_box("min_size: 0.5"), maps, {"min_size 0.5", "1 pixel or more"}},
      {"PriorBox_max_sizes",
       prior_box("min_size: 1 min_size: 2 max_size: 3"),
       maps,
       {"1 max_size for 2 min_size"}},
      {"PriorBox_max_size", prior_box("min_size: 3 max_size: 3"), maps, {"max_size 3", "larger"}},
      {"PriorBox_ratio", prior_box("min_size: 3 aspect_ratio: 0"), maps, {"aspect_ratio 0"}},
      {"PriorBox_variances",
       prior_box("min_size: 3 variance: 1 variance: 2"),
       maps,
       {"2 variances", "none, one or four"}},
      {"PriorBox_variance", prior_box("min_size: 3 variance: 0"), maps, {"variance 0"}},
      {"PriorBox_two_steps", prior_box("min_size: 3 step: 8 step_h: 8"), maps, {"both step and"}},
      {"PriorBox_half_step", prior_box("min_size: 3 step_h: 8"), maps, {"only one of a pair"}},
      {"PriorBox_step", prior_box("min_size: 3 step: 0"), maps, {"not positive"}},
      {"PriorBox_two_images",
       prior_box("min_size: 3 img_size: 8 img_w: 8"),
       maps,
       {"both img_size and"}},
      {"PriorBox_axes", prior_box("min_size: 3"), {{1, 3, 4, 4}, {1, 3}}, {"bottom 1 of shape"}},
      {"DetectionOutput_classes",
       "type: 'DetectionOutput'",
       predictions,
       {"num_classes 0", "must be given"}},
      {"DetectionOutput_threshold",
       detection("nms_param { nms_threshold: -1 }"),
       predictions,
       {"nms_threshold -1"}},
      {"DetectionOutput_eta", detection("nms_param { eta: 0 }"), predictions, {"eta 0"}},
      {"DetectionOutput_files",
       detection("save_output_param { output_directory: 'results' }"),
       predictions,
       {"output_directory \"results\"", "is not there"}},
      {"DetectionOutput_window", detection("visualize: true"), predictions, {"visualize"}},
      {"DetectionOutput_locations",
       detection("share_location: false"),
       predictions,
       {"locations of shape 2 20", "4 x 3 numbers", "5 priors"}},
      {"DetectionOutput_confidences",
       detection(""),
       {{2, 20}, {2, 10}, {1, 2, 20}},
       {"confidences of shape 2 10", "3 numbers", "5 priors"}},
      {"DetectionOutput_images",
       detection(""),
       {{2, 20}, {1, 15}, {1, 2, 20}},
       {"2 images and confidences of 1"}},
      {"DetectionOutput_priors",
       detection(""),
       {{2, 20}, {2, 15}, {1, 20}},
       {"priors of shape 1 20", "as PriorBox gives them"}},
      {"ROIPooling_size",
       "type: 'ROIPooling' roi_pooling_param { pooled_h: 2 }",
       {maps[0], {7, 5}},
       {"pooled_w 0", "positive"}},
      {"ROIPooling_regions",
       "type: 'ROIPooling' roi_pooling_param { pooled_h: 2 pooled_w: 2 }",
       {maps[0], {7, 4}},
       {"regions of shape 7 4", "sample, x1, y1, x2, y2"}},
  };
}

std::vector<BadCase> fork_cases() {
  const auto interp = [](const std::string& p) {
    return "type: 'Interp' interp_param { " + p + " }";
  };
  const auto upsample = [](const std::string& p) {
    return "type: 'Upsample' upsample_param { " + p + " }";
  };
  const Shape image{2, 3, 4, 4};
  return {
      {"ConvolutionDepthwise_outputs",
       "type: 'ConvolutionDepthwise' convolution_param { num_output: 6 kernel_size: 1 }",
       {image},
       {"num_output 6", "3 channels"}},
      {"DepthwiseConvolution_group",
       "type: 'DepthwiseConvolution' convolution_param { num_output: 3 kernel_size: 1 group: 2 }",
       {image},
       {"group 2", "3 channels"}},
      {"Permute_axis", "type: 'Permute' permute_param { order: 4 }", {image}, {"axis 4", "0 to 3"}},
      {"Permute_twice",
       "type: 'Permute' permute_param { order: 1 order: 1 }",
       {image},
       {"axis 1 twice"}},
      {"Normalize_axes", "type: 'Normalize'", {{2}}, {"at least 2 axes"}},
      {"ShuffleChannel_group",
       "type: 'ShuffleChannel' shuffle_channel_param { group: 2 }",
       {image},
       {"group 2", "3 channels"}},
      {"ShuffleChannel_zero",
       "type: 'ShuffleChannel' shuffle_channel_param { group: 0 }",
       {image},
       {"group 0"}},
      {"Interp_no_size", "type: 'Interp'", {image}, {"needs shrink_factor"}},
      {"Interp_half_size", interp("height: 3"), {image}, {"height and width"}},
      {"Interp_two_sizes", interp("zoom_factor: 2"), {image, image}, {"remove one of them"}},
      {"Interp_zoom", interp("zoom_factor: 0"), {image}, {"zoom_factor 0", "positive"}},
      {"Interp_size", interp("height: -1 width: 3"), {image}, {"size -1 for axis 2"}},
      {"Interp_pad", interp("zoom_factor: 2 pad_beg: 1"), {image}, {"pad_beg 1", "0 or less"}},
      {"Interp_cut", interp("zoom_factor: 2 pad_beg: -4"), {image}, {"cut all of axis 2"}},
      {"Interp_type",
       interp("zoom_factor: 2 interp_type: 'nearest_neighbor'"),
       {image},
       {"interp_type \"nearest_neighbor\"", "only \"bilinear\""}},
      {"Upsample_no_mask", "type: 'Upsample'", {image}, {"give scale alone", "second bottom"}},
      {"Upsample_scale", upsample("scale: 0"), {image}, {"scale 0 x 0", "positive"}},
      {"Upsample_half", upsample("scale_h: 2"), {image, image}, {"only one of a pair"}},
      {"Upsample_padded", upsample("scale: 3 pad_out_w: true"), {image, image}, {"need scale 2"}},
      {"Upsample_mask_shape", upsample(""), {image, {2, 3, 4, 5}}, {"a mask of shape 2 3 4 5"}},
  };
}

std::vector<BadCase> bad_cases() {
  std::vector<BadCase> all;
  for (const auto& part : {convolution_cases(), pooling_cases(), loss_cases(), shape_layer_cases(),
                           other_cases(), caffe_1_0_cases(), detection_cases(), fork_cases()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

class BadParameter : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadParameter, IsOneClearError) {
  const BadCase& test = GetParam();
  const auto f = fixture(test.layer, test.bottoms, test.tops);
  const std::string message = error_of([&] { f->set_up(); });
  EXPECT_THAT(message, ::testing::StartsWith("[layer tested (" +
                                             test.name.substr(0, test.name.find('_')) + ")] "));
  for (const std::string& said : test.said) EXPECT_THAT(message, HasSubstr(said));
}

INSTANTIATE_TEST_SUITE_P(Layers, BadParameter, ::testing::ValuesIn(bad_cases()),
                         [](const ::testing::TestParamInfo<BadCase>& info) {
                           return info.param.name;
                         });

TEST(BadParameterTable, HasEveryLayerThatCanBeMisused) {
  std::set<std::string> covered;
  for (const BadCase& test : bad_cases()) covered.insert(test.name.substr(0, test.name.find('_')));
  EXPECT_EQ(uncovered_layers(covered, {{"ReLU", "takes any bottom and parameter"},
                                       {"Parameter", "takes any shape"},
                                       {"ReLU6", "takes any bottom"},
                                       {"Threshold", "takes any bottom and parameter"},
                                       {"Swish", "takes any bottom and parameter"},
                                       {"Power", "takes any bottom and parameter"},
                                       {"ELU", "takes any bottom and parameter"},
                                       {"BNLL", "takes any bottom and parameter"},
                                       {"AbsVal", "takes any bottom and parameter"},
                                       {"TanH", "takes any bottom"},
                                       {"Sigmoid", "takes any bottom"},
                                       {"Silence", "takes any bottom"},
                                       {"Split", "takes any bottom"},
                                       {"Data", "tests/engine/data"},
                                       {"ImageData", "image_data_test.cpp"},
                                       {"WindowData", "image_data_test.cpp"},
                                       {"HDF5Output", "image_data_test.cpp"},
                                       {"HDF5Data", "tests/engine/data"},
                                       {"CoSData", "tests/engine/data"}}),
            "");
}

TEST(UnknownLayer, IsNamedWithTheKnownOnes) {
  EXPECT_THAT(error_of([] { fixture("type: 'Convolutoin'", {}, 1); }),
              AllOf(::testing::StartsWith(
                        "Unknown layer type: Convolutoin (known types: AbsVal, Accuracy, "),
                    HasSubstr("Convolution, ")));
}

// Shapes that changed after set_up so that the weights no longer fit.
TEST(ChangedShape, IsRefusedWhereTheWeightsDoNotFit) {
  const auto said = [](const std::string& layer, const Shape& before, const Shape& after) {
    const auto f = fixture(layer, {before}, 1);
    f->set_up();
    f->bottom_shaped("x0", after);
    return error_of([&] { f->reshape(); });
  };
  EXPECT_THAT(said("type: 'InnerProduct' inner_product_param { num_output: 2 }", {2, 3}, {2, 4}),
              HasSubstr("found 4 inputs (bottom 2 4 (8) from axis 1), expected 3"));
  EXPECT_THAT(said("type: 'Convolution' convolution_param { num_output: 2 kernel_size: 1 }",
                   {2, 3, 4, 4}, {2, 4, 4, 4}),
              HasSubstr("expected 4 axes with 3 channels on axis 1"));
  EXPECT_THAT(said("type: 'Deconvolution' convolution_param { num_output: 2 kernel_size: 1 }",
                   {2, 3, 4, 4}, {2, 3, 4, 4, 4}),
              HasSubstr("expected 4 axes with 3 channels on axis 1"));
  EXPECT_THAT(said("type: 'BatchNorm'", {2, 3}, {2, 4}), HasSubstr("found 4 channels"));
  EXPECT_THAT(said("type: 'Scale'", {2, 3}, {2, 4}), HasSubstr("shape 3 (3)"));
}

TEST(InPlace, IsRefusedWhereItWouldGiveWrongNumbers) {
  for (const char* layer :
       {"type: 'Split'", "type: 'Flatten'", "type: 'Reshape' reshape_param { shape { dim: 0 } }",
        "type: 'Concat'", "type: 'LRN'", "type: 'Permute'", "type: 'Normalize'",
        "type: 'ShuffleChannel'", "type: 'Interp' interp_param { zoom_factor: 1 }",
        "type: 'Upsample' upsample_param { scale: 1 }"}) {
    LayerFixture f(std::string(layer) + " name: 'tested' bottom: 'x' top: 'x'");
    f.bottom_shaped("x", {2, 3, 4, 4});
    EXPECT_THAT(error_of([&] { f.set_up(); }), HasSubstr("cannot work in place")) << layer;
  }
  LayerFixture f(
      "type: 'Eltwise' eltwise_param { operation: MAX } name: 'tested' bottom: 'x' bottom: 'z' "
      "top: 'x'");
  f.bottom_shaped("x", {2});
  f.bottom_shaped("z", {2});
  EXPECT_THAT(error_of([&] { f.set_up(); }), HasSubstr("only operation SUM works in place"));
}

// ---- labels ----

std::string label_error(const std::string& layer, const std::vector<float>& labels,
                        const Shape& scores = {4, 3}) {
  Shape label_shape = scores;
  label_shape[1] = 1;
  const auto f = fixture(layer, {scores, label_shape}, 1);
  f->set_up();
  set_data<float>(*f->bottom[1], labels);
  return error_of([&] { f->forward(); });
}

TEST(Labels, OutsideTheClassesAreNamedWithRowAndRange) {
  for (const std::string type : {"SoftmaxWithLoss", "Accuracy"}) {
    const std::string layer = "type: '" + type + "'";
    EXPECT_EQ(label_error(layer, {0, 2, 3, 1}),
              "[layer tested (" + type +
                  ")] found label 3 in row 2 of the batch, expected 0 to 2 (3 classes); correct "
                  "the labels, or give the layer before as many outputs as there are classes");
    EXPECT_THAT(label_error(layer, {-1, 2, 0, 1}), HasSubstr("found label -1 in row 0"));
    EXPECT_THAT(label_error(layer, {0, std::numeric_limits<float>::quiet_NaN(), 0, 1}),
                HasSubstr("label nan in row 1"));
    EXPECT_THAT(label_error(layer, {0, 0, 0, std::numeric_limits<float>::infinity()}),
                HasSubstr("label inf in row 3"));
    EXPECT_THAT(label_error(layer, {0, 0, 0, 1e30f}), HasSubstr("label 1e+30 in row 3"));
    EXPECT_EQ(label_error(layer, {0, 1, 2, 1}), "");
    EXPECT_THAT(label_error(layer, {0, 0, 0, 0, 0, 7}, {3, 3, 1, 2}),
                HasSubstr("label 7 in row 2 at position 1"));
  }
}

TEST(Labels, IgnoredOnesAreAllowed) {
  const std::string loss = "type: 'SoftmaxWithLoss' loss_param { ignore_label: 255 }";
  EXPECT_EQ(label_error(loss, {0, 255, 2, 255}), "");
  EXPECT_THAT(label_error(loss, {0, 254, 2, 255}),
              HasSubstr("found label 254 in row 1 of the batch, expected 0 to 2 (3 "
                        "classes) or ignore_label 255"));
  const std::string accuracy = "type: 'Accuracy' accuracy_param { ignore_label: -1 }";
  EXPECT_EQ(label_error(accuracy, {0, -1, 2, 1}), "");
  EXPECT_THAT(label_error(accuracy, {0, -2, 2, 1}), HasSubstr("label -2"));
}

TEST(Labels, HaveNoGradient) {
  const auto f = fixture("type: 'SoftmaxWithLoss'", {{4, 3}, {4}}, 1);
  f->set_up();
  f->forward();
  EXPECT_THAT(error_of([&] { f->backward({true, true}); }), HasSubstr("no gradient for labels"));
}

TEST(Accuracy, CountsScoresThatAreNotNumbersAsWrong) {
  const auto f = fixture("type: 'Accuracy'", {{2, 2}, {2}}, 1);
  f->set_up();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  set_data<float>(*f->bottom[0], std::vector<float>{nan, nan, 1, 0});
  set_data<float>(*f->bottom[1], std::vector<float>{0, 0});
  f->forward();
  EXPECT_EQ(f->top[0]->data_as<float>()[0], 0.5f);
}

}  // namespace
}  // namespace caffe::testing
