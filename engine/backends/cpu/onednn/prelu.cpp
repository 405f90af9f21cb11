#include <algorithm>
#include <optional>

#include "backends/cpu/onednn/gradient_operand.h"
#include "kernels/for_each.h"

namespace caffe::onednn {
namespace {

// How channels lie in a format: outer x blocks x inner x block numbers, channel = its block's index
// x block + its place in the block. Plain images have blocks of 1, channels last one block of all.
struct ChannelOrder {
  int64_t outer, blocks, inner, block;
  int64_t channels() const { return blocks * block; }  // with the padding
};

ChannelOrder order_of(const Desc& format) {
  const Dims dims = format.get_dims();
  int64_t inner = 1;
  for (size_t i = 2; i < dims.size(); ++i) inner *= dims[i];
  if (format.get_inner_nblks() == 0) {
    const bool last = inner == 1 || format.get_strides()[1] == 1;
    return last ? ChannelOrder{dims[0], 1, inner, dims[1]}
                : ChannelOrder{dims[0], dims[1], inner, 1};
  }
  if (format.get_inner_nblks() > 1 || format.get_inner_idxs()[0] != 1)
    throw Refusal{"only formats with blocks of channels, not " + format_name(format)};
  const int64_t block = format.get_inner_blks()[0];
  return {dims[0], format.get_padded_dims()[1] / block, inner, block};
}

// oneDNN has this for plain images only, so these are loops of our own, in whatever format the
// bottom comes.
class PRelu : public DnnlImplementation {
 public:
  explicit PRelu(const Operation& operation)
      : shared_(operation.param().prelu_param().channel_shared()),
        learns_(operation.backward && operation.layer->learns(0)),
        bottom_(operation.bottom[0]),
        top_(operation.top[0]),
        slope_(&operation.parameter(0)),
        format_(as_float(planned_format(bottom_->data(), dims_of(bottom_->shape())))),
        order_(order_of(format_)) {
    require_no_fusion(operation);
    data_ = bottom_->data().representation(layout_of(format_));
    top_data_ = top_->data().representation(layout_of(format_));
    slopes_.resize(static_cast<size_t>(order_.channels()));
    details_ = "loops on " + format_name(format_);
    if (!operation.backward) return;
    operand_.emplace(operation, format_, false);
    operand_data_ = operand_->buffer().representation(layout_of(format_));
    top_diff_ = top_->diff().representation(layout_of(format_));
    if (propagates_down(operation, 0))
      bottom_diff_ = bottom_->diff().representation(layout_of(format_));
    runs_.resize(static_cast<size_t>(order_.outer * order_.channels()));
    sums_.resize(runs_.size());
  }

  void forward() override {
    if (operand_) operand_->keep();
    spread_slopes();
    const bool in_place = top_ == bottom_;
    const auto* x = static_cast<const float*>(bottom_->data().read(data_));
    auto* y =
        static_cast<float*>(in_place ? top_->data().update(data_) : top_->data().write(top_data_));
    apply(x, x, y);
  }

  void backward() override {
    spread_slopes();
    const auto* x = static_cast<const float*>(operand_->buffer().read(operand_data_));
    const auto* dy = static_cast<const float*>(top_->diff().read(top_diff_));
    if (learns_) add_gradient(x, dy);
    if (bottom_diff_ < 0) return;
    auto* dx = static_cast<float*>(top_ == bottom_ ? bottom_->diff().update(bottom_diff_)
                                                   : bottom_->diff().write(bottom_diff_));
    apply(x, dy, dx);
  }

  BufferUses forward_uses() const override {
    BufferUses uses;
    if (operand_) operand_->add_keep_uses(&uses);
    uses.push_back({&bottom_->data(), data_, Access::kRead});
    uses.push_back({&top_->data(), top_data_, top_ == bottom_ ? Access::kUpdate : Access::kWrite});
    return uses;
  }
  BufferUses backward_uses() const override {
    if (!operand_) return {};
    BufferUses uses = {operand_->use(), {&top_->diff(), top_diff_, Access::kRead}};
    if (bottom_diff_ >= 0) {
      uses.push_back(
          {&bottom_->diff(), bottom_diff_, top_ == bottom_ ? Access::kUpdate : Access::kWrite});
    }
    return uses;
  }

 private:
  // One slope per channel, zeros for the padding.
  void spread_slopes() {
    const float* slope = slope_->data_as<float>();
    const int64_t channels = bottom_->shape()[1];
    for (int64_t c = 0; c < channels; ++c) slopes_[static_cast<size_t>(c)] = slope[shared_ ? 0 : c];
  }

  // out = in where sign > 0, else slope * in.
  void apply(const float* sign, const float* in, float* out) const {
    const auto [outer, blocks, inner, block] = order_;
    const float* slopes = slopes_.data();
    for_each_heavy(outer * blocks, [=](int64_t row) {
      const float* slope = slopes + row % blocks * block;
      const int64_t first = row * inner * block;
      if (block == 1) {
#pragma omp simd
        for (int64_t i = first; i < first + inner; ++i)
          out[i] = in[i] * (sign[i] > 0 ? 1.f : *slope);
        return;
      }
      for (int64_t i = 0; i < inner; ++i) {
        const int64_t at = first + i * block;
#pragma omp simd
        for (int64_t b = 0; b < block; ++b)
          out[at + b] = in[at + b] * (sign[at + b] > 0 ? 1.f : slope[b]);
      }
    });
  }

  // Sums per sample and channel first: short runs in float, these in double.
  void add_gradient(const float* x, const float* dy) {
    const auto [outer, blocks, inner, block] = order_;
    float* runs = runs_.data();
    double* sums = sums_.data();
    for_each_heavy(outer * blocks, [=](int64_t row) {
      sum_row(x + row * inner * block, dy + row * inner * block, inner, block, runs + row * block,
              sums + row * block);
    });
    float* gradient = slope_->update_diff<float>();
    const int64_t channels = bottom_->shape()[1], padded = order_.channels();
    double total = 0;
    for (int64_t c = 0; c < channels; ++c) {
      double sum = 0;
      for (int64_t o = 0; o < outer; ++o) sum += sums[o * padded + c];
      total += sum;
      if (!shared_) gradient[c] += static_cast<float>(sum);
    }
    if (shared_) gradient[0] += static_cast<float>(total);
  }

  static void sum_row(const float* x, const float* dy, int64_t inner, int64_t block, float* run,
                      double* sum) {
    constexpr int64_t kRun = 1024;
    std::fill_n(sum, block, 0.0);
    for (int64_t begin = 0; begin < inner; begin += kRun) {
      const int64_t end = std::min(begin + kRun, inner);
      if (block == 1) {
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (int64_t i = begin; i < end; ++i) part += std::min(x[i], 0.f) * dy[i];
        *sum += part;
        continue;
      }
      std::fill_n(run, block, 0.f);
      for (int64_t i = begin; i < end; ++i) {
#pragma omp simd
        for (int64_t b = 0; b < block; ++b)
          run[b] += std::min(x[i * block + b], 0.f) * dy[i * block + b];
      }
      for (int64_t b = 0; b < block; ++b) sum[b] += run[b];
    }
  }

  bool shared_, learns_;
  Blob* bottom_;
  Blob* top_;
  Blob* slope_;
  Desc format_;
  ChannelOrder order_;
  int data_ = 0, top_data_ = 0, operand_data_ = 0, top_diff_ = 0;
  int bottom_diff_ = -1;  // not wanted
  std::optional<GradientOperand> operand_;
  std::vector<float> slopes_, runs_;
  std::vector<double> sums_;
};

CAFFE_REGISTER_IMPLEMENTATION(PReLU, onednn, make<PRelu>);

}  // namespace
}  // namespace caffe::onednn
