#include "engine/layers/gradient_checker.h"

#include <map>
#include <set>

#include "engine/layers/coverage.h"

namespace caffe::testing {
namespace {

const char* const kWeights = "weight_filler { type: 'gaussian' } bias_filler { type: 'gaussian' }";

std::vector<GradientCase> cases() {
  const std::string w = kWeights;
  return {
      {"Convolution_padded",
       "type: 'Convolution' convolution_param { num_output: 3 kernel_size: 3 pad: 1 stride: 2 " +
           w + " }",
       {{2, 2, 5, 4}}},
      {"Convolution_grouped_dilated",
       "type: 'Convolution' convolution_param { num_output: 4 kernel_h: 2 kernel_w: 3 dilation: 2 "
       "group: 2 " +
           w + " }",
       {{1, 4, 6, 7}}},
      {"Convolution_pointwise_two_bottoms",
       "type: 'Convolution' convolution_param { num_output: 3 kernel_size: 1 " + w + " }",
       {{2, 2, 3, 2}, {2, 2, 3, 2}},
       {Values::kNormal},
       2},
      {"Convolution_3d",
       "type: 'Convolution' convolution_param { num_output: 2 kernel_size: 2 pad: 1 bias_term: "
       "false " +
           w + " }",
       {{1, 2, 3, 2, 3}}},
      {"Pooling_max",
       "type: 'Pooling' pooling_param { kernel_size: 3 stride: 2 pad: 1 }",
       {{2, 2, 5, 6}},
       {Values::kDistinct}},
      {"Pooling_max_with_mask",
       "type: 'Pooling' pooling_param { kernel_h: 2 kernel_w: 3 stride: 2 }",
       {{1, 2, 5, 5}},
       {Values::kDistinct},
       2,
       false,
       TRAIN,
       {},
       true},
      {"Pooling_average",
       "type: 'Pooling' pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }",
       {{2, 2, 5, 6}}},
      {"Pooling_global",
       "type: 'Pooling' pooling_param { pool: AVE global_pooling: true }",
       {{2, 3, 3, 4}}},
      {"InnerProduct_plain",
       "type: 'InnerProduct' inner_product_param { num_output: 3 " + w + " }",
       {{2, 3, 2}}},
      {"InnerProduct_transposed",
       "type: 'InnerProduct' inner_product_param { num_output: 3 axis: 2 transpose: true "
       "bias_term: false " +
           w + " }",
       {{2, 2, 4}}},
      {"LRN_across", "type: 'LRN' lrn_param { local_size: 3 alpha: 2 k: 1.5 }", {{2, 5, 2, 3}}},
      {"LRN_across_other_power",
       "type: 'LRN' lrn_param { local_size: 5 alpha: 2 beta: 0.6 }",
       {{1, 3, 2, 3}}},
      {"LRN_across_root",
       "type: 'LRN' lrn_param { local_size: 5 alpha: 2 beta: 0.5 }",
       {{1, 6, 2, 1}}},
      {"LRN_within",
       "type: 'LRN' lrn_param { local_size: 3 alpha: 2 norm_region: WITHIN_CHANNEL }",
       {{2, 2, 4, 3}}},
      {"BatchNorm_batch", "type: 'BatchNorm'", {{3, 2, 2, 3}}},
      {"BatchNorm_in_place", "type: 'BatchNorm'", {{3, 2, 4}}, {Values::kNormal}, 1, true},
      {"BatchNorm_global",
       "type: 'BatchNorm' batch_norm_param { eps: 0.5 }",
       {{3, 2, 4}},
       {Values::kNormal},
       1,
       false,
       TEST},
      {"BatchNorm_one_axis", "type: 'BatchNorm'", {{5}}},
      {"Scale_per_channel",
       "type: 'Scale' scale_param { bias_term: true filler { type: 'gaussian' } bias_filler { "
       "type: 'gaussian' } }",
       {{2, 3, 2, 2}}},
      {"Scale_in_place",
       "type: 'Scale' scale_param { bias_term: true filler { type: 'gaussian' } }",
       {{2, 3, 4}},
       {Values::kNormal},
       1,
       true},
      {"Scale_scalar",
       "type: 'Scale' scale_param { num_axes: 0 filler { type: 'gaussian' } }",
       {{2, 3, 4}}},
      {"Scale_two_bottoms",
       "type: 'Scale' scale_param { axis: 1 bias_term: true }",
       {{2, 3, 2, 2}, {3, 2}}},
      {"Scale_two_bottoms_in_place",
       "type: 'Scale' scale_param { axis: 0 }",
       {{2, 3, 4}, {2}},
       {Values::kNormal},
       1,
       true},
      {"Bias_per_channel",
       "type: 'Bias' bias_param { filler { type: 'gaussian' } }",
       {{2, 3, 2, 2}}},
      {"Bias_in_place",
       "type: 'Bias' bias_param { axis: -1 }",
       {{2, 3, 4}},
       {Values::kNormal},
       1,
       true},
      {"Bias_two_bottoms", "type: 'Bias' bias_param { axis: 0 }", {{2, 3, 4}, {2, 3}}},
      {"Eltwise_sum",
       "type: 'Eltwise' eltwise_param { coeff: 1 coeff: -0.5 coeff: 2 }",
       {{2, 3}, {2, 3}, {2, 3}}},
      {"Eltwise_sum_in_place",
       "type: 'Eltwise' eltwise_param { coeff: 3 coeff: -0.5 }",
       {{2, 3}, {2, 3}},
       {Values::kNormal},
       1,
       true},
      {"Eltwise_product",
       "type: 'Eltwise' eltwise_param { operation: PROD }",
       {{2, 3}, {2, 3}, {2, 3}}},
      {"Eltwise_product_by_division",
       "type: 'Eltwise' eltwise_param { operation: PROD stable_prod_grad: false }",
       {{2, 3}, {2, 3}, {2, 3}},
       {Values::kNonZero}},
      {"Eltwise_maximum",
       "type: 'Eltwise' eltwise_param { operation: MAX }",
       {{3, 3}, {3, 3}, {3, 3}},
       {Values::kDistinct}},
      {"Concat_channels", "type: 'Concat'", {{2, 1, 3}, {2, 2, 3}, {2, 3, 3}}},
      {"Concat_first_axis", "type: 'Concat' concat_param { axis: 0 }", {{1, 2, 3}, {2, 2, 3}}},
      {"Concat_single", "type: 'Concat'", {{2, 2, 3}}},
      {"Reshape_inferred",
       "type: 'Reshape' reshape_param { shape { dim: 0 dim: -1 } }",
       {{2, 3, 2}}},
      {"Flatten_all", "type: 'Flatten'", {{2, 3, 2}}},
      {"Split_three", "type: 'Split'", {{2, 3}}, {Values::kNormal}, 3},
      {"Silence_two", "type: 'Silence'", {{2, 3}, {2}}, {Values::kNormal}, 0},
      {"ReLU_plain", "type: 'ReLU'", {{2, 3}}, {Values::kNonZero}},
      {"ReLU_leaky_in_place",
       "type: 'ReLU' relu_param { negative_slope: 0.1 }",
       {{2, 3}},
       {Values::kNonZero},
       1,
       true},
      {"TanH_plain", "type: 'TanH'", {{2, 3}}},
      {"TanH_in_place", "type: 'TanH'", {{2, 3}}, {Values::kNormal}, 1, true},
      {"Sigmoid_plain", "type: 'Sigmoid'", {{2, 3}}},
      {"Sigmoid_in_place", "type: 'Sigmoid'", {{2, 3}}, {Values::kNormal}, 1, true},
      {"Dropout_training", "type: 'Dropout' dropout_param { dropout_ratio: 0.3 }", {{3, 7}}},
      {"Dropout_training_in_place", "type: 'Dropout'", {{3, 7}}, {Values::kNormal}, 1, true},
      {"Dropout_testing", "type: 'Dropout'", {{3, 7}}, {Values::kNormal}, 1, false, TEST},
      {"Softmax_rows", "type: 'Softmax'", {{2, 4}}},
      {"Softmax_spatial_in_place", "type: 'Softmax'", {{2, 3, 2, 2}}, {Values::kNormal}, 1, true},
      {"Softmax_last_axis", "type: 'Softmax' softmax_param { axis: -1 }", {{2, 3, 4}}},
      {"SoftmaxWithLoss_rows",
       "type: 'SoftmaxWithLoss'",
       {{4, 3}, {4}},
       {Values::kNormal, Values::kLabels},
       1,
       false,
       TRAIN,
       {true, false}},
      {"SoftmaxWithLoss_ignoring",
       "type: 'SoftmaxWithLoss' loss_param { ignore_label: 1 normalization: FULL }",
       {{2, 3, 2, 3}, {2, 2, 3}},
       {Values::kNormal, Values::kLabels},
       2,
       false,
       TRAIN,
       {true, false},
       true},
      {"SoftmaxWithLoss_last_axis",
       "type: 'SoftmaxWithLoss' softmax_param { axis: -1 } loss_param { normalize: false }",
       {{2, 2, 3}, {2, 2}},
       {Values::kNormal, Values::kLabels},
       0,
       false,
       TRAIN,
       {true, false}},
      {"EuclideanLoss_both", "type: 'EuclideanLoss'", {{3, 2, 2}, {3, 4}}},
  };
}

class Gradient : public ::testing::TestWithParam<GradientCase> {};

TEST_P(Gradient, EqualsFiniteDifferences) { GradientChecker(GetParam()).run(); }

INSTANTIATE_TEST_SUITE_P(Layers, Gradient, ::testing::ValuesIn(cases()),
                         [](const ::testing::TestParamInfo<GradientCase>& info) {
                           return info.param.name;
                         });

TEST(GradientTable, HasEveryLayerThatIsDifferentiable) {
  std::set<std::string> covered;
  for (const GradientCase& test : cases()) covered.insert(test.name.substr(0, test.name.find('_')));
  const std::map<std::string, std::string> without_gradient = {
      {"Accuracy", "counts"},       {"Data", "no bottoms"},    {"DummyData", "no bottoms"},
      {"HDF5Data", "no bottoms"},   {"CoSData", "no bottoms"}, {"Input", "no bottoms"},
      {"MemoryData", "no bottoms"},
  };
  EXPECT_EQ(uncovered_layers(covered, without_gradient), "");
}

}  // namespace
}  // namespace caffe::testing
