// The reference that a training step is compared with: LeNet and CIFAR10-quick as a fixed list of
// oneDNN primitives, every format chosen by oneDNN, with nothing around it: no blobs, layers,
// formats on demand or errors. What the engine costs is the difference. usage: prototype_bench
// lenet|cifar10_quick STEPS Prints one JSON object: milliseconds per step, in order.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <iostream>
#include <oneapi/dnnl/dnnl.hpp>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using dnnl::memory;
using Desc = memory::desc;
using Dims = memory::dims;
using Tag = memory::format_tag;
constexpr auto kF32 = memory::data_type::f32;
constexpr auto kTraining = dnnl::prop_kind::forward_training;
constexpr auto kRelu = dnnl::algorithm::eltwise_relu;
constexpr auto kDirect = dnnl::algorithm::convolution_direct;

const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
dnnl::stream stream(engine);

struct Call {
  dnnl::primitive primitive;
  std::unordered_map<int, memory> arguments;
};

struct Parameter {
  memory weights, gradient, history;
};

Desc any(const Dims& dims) { return Desc(dims, kF32, Tag::any); }
Desc vector_of(int64_t n) { return Desc({n}, kF32, Tag::a); }

memory zeros(const Desc& desc) {
  memory made(desc, engine);
  std::memset(made.get_data_handle(), 0, desc.get_size());
  return made;
}

memory gaussian(const Desc& desc, float deviation) {
  static std::mt19937 random(1);
  memory made(desc, engine);
  auto* values = static_cast<float*>(made.get_data_handle());
  std::normal_distribution<float> normal(0, deviation);
  for (size_t i = 0; i < desc.get_size() / sizeof(float); ++i) values[i] = normal(random);
  return made;
}

// A chain of layers: what one leaves is what the next takes. Backward calls are made last to first.
class Chain {
 public:
  explicit Chain(const Dims& input)
      : dims_(input), value_(gaussian(Desc(input, kF32, Tag::nchw), 1)) {}

  void convolution(int64_t outputs, int64_t kernel, int64_t pad, bool relu);
  void max_pool(int64_t kernel, int64_t output) {
    pool(dnnl::algorithm::pooling_max, kernel, output);
  }
  void average_pool(int64_t kernel, int64_t output) {
    pool(dnnl::algorithm::pooling_avg_exclude_padding, kernel, output);
  }
  void relu();
  void inner_product(int64_t outputs, bool relu);
  void softmax_loss();
  double step();

 private:
  using Back = std::function<memory(memory)>;  // plans backward calls; takes and gives the gradient

  void pool(dnnl::algorithm algorithm, int64_t kernel, int64_t output);
  memory in_format(std::vector<Call>& calls, memory source, const Desc& format);
  memory parameter(const Dims& dims, Tag tag, const Desc& format, float deviation);
  memory mask(const memory& output, memory gradient);
  static dnnl::primitive_attr with_relu(bool relu);
  void update();

  Dims dims_;
  memory value_;
  std::vector<Call> forward_, backward_;
  std::vector<Back> planned_;
  std::vector<Parameter> parameters_;
  memory probability_, gradient_;
  std::vector<int> labels_;
};

memory Chain::in_format(std::vector<Call>& calls, memory source, const Desc& format) {
  if (source.get_desc() == format) return source;
  memory made = zeros(format);
  calls.push_back({dnnl::reorder(source, made), {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, made}}});
  return made;
}

memory Chain::parameter(const Dims& dims, Tag tag, const Desc& format, float deviation) {
  memory plain = gaussian(Desc(dims, kF32, tag), deviation), made = zeros(format);
  dnnl::reorder(plain, made).execute(stream, plain, made);
  return made;
}

dnnl::primitive_attr Chain::with_relu(bool relu) {
  dnnl::primitive_attr attributes;
  dnnl::post_ops after;
  if (relu) after.append_eltwise(kRelu, 0, 0);
  attributes.set_post_ops(after);
  return attributes;
}

// The gradient before an in-place ReLU.
memory Chain::mask(const memory& output, memory gradient) {
  const Desc format = output.get_desc();
  gradient = in_format(backward_, gradient, format);
  const dnnl::eltwise_forward::primitive_desc forward(engine, kTraining, kRelu, format, format, 0.f,
                                                      0.f);
  const dnnl::eltwise_backward::primitive_desc back(engine, kRelu, format, format, format, 0.f, 0.f,
                                                    forward);
  backward_.push_back(
      {dnnl::eltwise_backward(back),
       {{DNNL_ARG_SRC, output}, {DNNL_ARG_DIFF_DST, gradient}, {DNNL_ARG_DIFF_SRC, gradient}}});
  return gradient;
}

void Chain::convolution(int64_t outputs, int64_t kernel, int64_t pad, bool relu) {
  const Dims weights_dims = {outputs, dims_[1], kernel, kernel}, stride = {1, 1}, pads = {pad, pad};
  const int64_t height = dims_[2] + 2 * pad - kernel + 1;
  const Dims in = dims_, out = {dims_[0], outputs, height, height};
  const Desc bias_desc = vector_of(outputs);
  const dnnl::convolution_forward::primitive_desc pd(engine, kTraining, kDirect, any(in),
                                                     any(weights_dims), bias_desc, any(out), stride,
                                                     pads, pads, with_relu(relu));
  const float deviation = std::sqrt(2.f / static_cast<float>(dims_[1] * kernel * kernel));
  memory source = in_format(forward_, value_, pd.src_desc());
  memory weights = parameter(weights_dims, Tag::oihw, pd.weights_desc(), deviation);
  memory bias = zeros(bias_desc), result = zeros(pd.dst_desc());
  forward_.push_back({dnnl::convolution_forward(pd),
                      {{DNNL_ARG_SRC, source},
                       {DNNL_ARG_WEIGHTS, weights},
                       {DNNL_ARG_BIAS, bias},
                       {DNNL_ARG_DST, result}}});
  const bool first = planned_.empty();
  planned_.push_back([=, this](memory gradient) mutable {
    if (relu) gradient = mask(result, gradient);
    const dnnl::convolution_backward_weights::primitive_desc bw(
        engine, kDirect, any(in), any(weights_dims), bias_desc, any(out), stride, pads, pads, pd);
    const memory bias_gradient = zeros(bias_desc), made = zeros(bw.diff_weights_desc());
    const memory from = in_format(backward_, source, bw.src_desc());
    const memory down = in_format(backward_, gradient, bw.diff_dst_desc());
    backward_.push_back({dnnl::convolution_backward_weights(bw),
                         {{DNNL_ARG_SRC, from},
                          {DNNL_ARG_DIFF_DST, down},
                          {DNNL_ARG_DIFF_WEIGHTS, made},
                          {DNNL_ARG_DIFF_BIAS, bias_gradient}}});
    parameters_.push_back(
        {weights, in_format(backward_, made, weights.get_desc()), zeros(weights.get_desc())});
    parameters_.push_back({bias, bias_gradient, zeros(bias_desc)});
    if (first) return memory();
    const dnnl::convolution_backward_data::primitive_desc bd(
        engine, kDirect, any(in), any(weights_dims), any(out), stride, pads, pads, pd);
    const memory below = zeros(bd.diff_src_desc());
    const memory top = in_format(backward_, gradient, bd.diff_dst_desc());
    const memory used = in_format(backward_, weights, bd.weights_desc());
    backward_.push_back(
        {dnnl::convolution_backward_data(bd),
         {{DNNL_ARG_DIFF_DST, top}, {DNNL_ARG_WEIGHTS, used}, {DNNL_ARG_DIFF_SRC, below}}});
    return below;
  });
  value_ = result;
  dims_ = out;
}

void Chain::pool(dnnl::algorithm algorithm, int64_t kernel, int64_t output) {
  const Dims out = {dims_[0], dims_[1], output, output}, stride = {2, 2}, window = {kernel, kernel},
             none = {0, 0};
  const int64_t after = (output - 1) * 2 + kernel - dims_[2];
  const Dims after_pads = {after, after};
  const Desc format = value_.get_desc();
  const dnnl::pooling_forward::primitive_desc pd(engine, kTraining, algorithm, format, any(out),
                                                 stride, window, none, none, after_pads);
  memory result = zeros(pd.dst_desc()), workspace = zeros(pd.workspace_desc());
  forward_.push_back(
      {dnnl::pooling_forward(pd),
       {{DNNL_ARG_SRC, value_}, {DNNL_ARG_DST, result}, {DNNL_ARG_WORKSPACE, workspace}}});
  planned_.push_back([=, this](memory gradient) {
    const dnnl::pooling_backward::primitive_desc back(engine, algorithm, format, result.get_desc(),
                                                      stride, window, none, none, after_pads, pd);
    const memory below = zeros(format), top = in_format(backward_, gradient, back.diff_dst_desc());
    backward_.push_back(
        {dnnl::pooling_backward(back),
         {{DNNL_ARG_DIFF_DST, top}, {DNNL_ARG_DIFF_SRC, below}, {DNNL_ARG_WORKSPACE, workspace}}});
    return below;
  });
  value_ = result;
  dims_ = out;
}

void Chain::relu() {
  const Desc format = value_.get_desc();
  const memory value = value_;
  const dnnl::eltwise_forward::primitive_desc pd(engine, kTraining, kRelu, format, format, 0.f,
                                                 0.f);
  forward_.push_back({dnnl::eltwise_forward(pd), {{DNNL_ARG_SRC, value}, {DNNL_ARG_DST, value}}});
  planned_.push_back([=, this](memory gradient) { return mask(value, gradient); });
}

void Chain::inner_product(int64_t outputs, bool relu) {
  Dims weights_dims = dims_;
  weights_dims[0] = outputs;
  int64_t inputs = 1;
  for (size_t i = 1; i < dims_.size(); ++i) inputs *= dims_[i];
  const Desc bias_desc = vector_of(outputs), out({dims_[0], outputs}, kF32, Tag::nc);
  const Dims in = dims_;
  const dnnl::inner_product_forward::primitive_desc pd(
      engine, kTraining, value_.get_desc(), any(weights_dims), bias_desc, out, with_relu(relu));
  memory weights = parameter(weights_dims, in.size() == 4 ? Tag::oihw : Tag::oi, pd.weights_desc(),
                             std::sqrt(2.f / static_cast<float>(inputs)));
  memory source = value_, bias = zeros(bias_desc), result = zeros(out);
  forward_.push_back({dnnl::inner_product_forward(pd),
                      {{DNNL_ARG_SRC, source},
                       {DNNL_ARG_WEIGHTS, weights},
                       {DNNL_ARG_BIAS, bias},
                       {DNNL_ARG_DST, result}}});
  planned_.push_back([=, this](memory gradient) {
    if (relu) gradient = mask(result, gradient);
    const dnnl::inner_product_backward_weights::primitive_desc bw(
        engine, source.get_desc(), any(weights_dims), bias_desc, out, pd);
    const memory made = zeros(bw.diff_weights_desc()), bias_gradient = zeros(bias_desc);
    backward_.push_back({dnnl::inner_product_backward_weights(bw),
                         {{DNNL_ARG_SRC, source},
                          {DNNL_ARG_DIFF_DST, gradient},
                          {DNNL_ARG_DIFF_WEIGHTS, made},
                          {DNNL_ARG_DIFF_BIAS, bias_gradient}}});
    parameters_.push_back(
        {weights, in_format(backward_, made, weights.get_desc()), zeros(weights.get_desc())});
    parameters_.push_back({bias, bias_gradient, zeros(bias_desc)});
    const dnnl::inner_product_backward_data::primitive_desc bd(engine, any(in), any(weights_dims),
                                                               out, pd);
    const memory below = zeros(bd.diff_src_desc()),
                 used = in_format(backward_, weights, bd.weights_desc());
    backward_.push_back(
        {dnnl::inner_product_backward_data(bd),
         {{DNNL_ARG_DIFF_DST, gradient}, {DNNL_ARG_WEIGHTS, used}, {DNNL_ARG_DIFF_SRC, below}}});
    return below;
  });
  value_ = result;
  dims_ = {in[0], outputs};
}

void Chain::softmax_loss() {
  const Desc format = value_.get_desc();
  probability_ = zeros(format);
  const dnnl::softmax_forward::primitive_desc pd(
      engine, kTraining, dnnl::algorithm::softmax_accurate, format, format, 1);
  forward_.push_back(
      {dnnl::softmax_forward(pd), {{DNNL_ARG_SRC, value_}, {DNNL_ARG_DST, probability_}}});
  gradient_ = zeros(format);
  memory gradient = gradient_;
  for (auto plan = planned_.rbegin(); plan != planned_.rend(); ++plan) gradient = (*plan)(gradient);
  for (int64_t i = 0; i < dims_[0]; ++i) labels_.push_back(static_cast<int>(i * 7 % dims_[1]));
}

void Chain::update() {
  for (const Parameter& parameter : parameters_) {
    auto* weights = static_cast<float*>(parameter.weights.get_data_handle());
    auto* history = static_cast<float*>(parameter.history.get_data_handle());
    const auto* gradient = static_cast<const float*>(parameter.gradient.get_data_handle());
    const auto n = static_cast<int64_t>(parameter.weights.get_desc().get_size() / sizeof(float));
#pragma omp parallel for simd if (n > 20000)
    for (int64_t i = 0; i < n; ++i) {
      history[i] = 0.9f * history[i] + 0.001f * (gradient[i] + 0.0005f * weights[i]);
      weights[i] -= history[i];
    }
  }
}

double Chain::step() {
  for (const Call& call : forward_) call.primitive.execute(stream, call.arguments);
  const auto* probability = static_cast<const float*>(probability_.get_data_handle());
  auto* gradient = static_cast<float*>(gradient_.get_data_handle());
  const int64_t rows = dims_[0], classes = dims_[1];
  double loss = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const int label = labels_[static_cast<size_t>(i)];
    loss -= std::log(std::max(probability[i * classes + label], 1e-30f));
    for (int64_t j = 0; j < classes; ++j) {
      const float target = j == label ? 1.f : 0.f;
      gradient[i * classes + j] =
          (probability[i * classes + j] - target) / static_cast<float>(rows);
    }
  }
  for (const Call& call : backward_) call.primitive.execute(stream, call.arguments);
  stream.wait();
  update();
  return loss / static_cast<double>(rows);
}

void print_list(const char* before, const std::vector<double>& values) {
  std::cout << before;
  for (size_t i = 0; i < values.size(); ++i) std::cout << (i ? ", " : "") << values[i];
}

void add_lenet(Chain& chain) {
  chain.convolution(20, 5, 0, false);
  chain.max_pool(2, 12);
  chain.convolution(50, 5, 0, false);
  chain.max_pool(2, 4);
  chain.inner_product(500, true);
  chain.inner_product(10, false);
}

void add_cifar10_quick(Chain& chain) {
  chain.convolution(32, 5, 2, false);
  chain.max_pool(3, 16);
  chain.relu();
  chain.convolution(32, 5, 2, true);
  chain.average_pool(3, 8);
  chain.convolution(64, 5, 2, true);
  chain.average_pool(3, 4);
  chain.inner_product(64, false);
  chain.inner_product(10, false);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: prototype_bench lenet|cifar10_quick STEPS\n";
    return 1;
  }
  const bool lenet = std::string(argv[1]) == "lenet";
  Chain chain(lenet ? Dims{64, 1, 28, 28} : Dims{100, 3, 32, 32});
  lenet ? add_lenet(chain) : add_cifar10_quick(chain);
  chain.softmax_loss();
  for (int i = 0; i < 3; ++i) chain.step();
  std::vector<double> wall, processor;
  double loss = 0;
  for (int i = 0; i < std::atoi(argv[2]); ++i) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t used = std::clock();
    loss = chain.step();
    processor.push_back(static_cast<double>(std::clock() - used) * 1e3 / CLOCKS_PER_SEC);
    wall.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
  }
  print_list("{\"ms\": [", wall);
  print_list("], \"cpu_ms\": [", processor);
  std::cout << "], \"loss\": " << loss << "}\n";
}
