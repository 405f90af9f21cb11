#include <algorithm>

#include "kernels/reduce.h"
#include "layers/indices.h"

namespace caffe {
namespace {

// Row x of a learned table (input_dim x num_output), plus a bias, for every index x of the bottom.
// What InnerProduct gives for one-hot inputs. The indices have no gradient. The index -1, with
// which sentences are filled up, is no word: zeros, plus the bias.
class EmbedLayer : public PortableLayer<EmbedLayer> {
 public:
  using PortableLayer::PortableLayer;

  bool has_backward() const override { return false; }
  bool allow_force_backward(int) const override { return false; }

  void set_up(const Blobs&, const Blobs&) override {
    const auto& p = param().embed_param();
    CAFFE_REQUIRE(p.num_output() > 0 && p.input_dim() > 0, "found num_output ", p.num_output(),
                  " and input_dim ", p.input_dim(), " in embed_param; both must be positive");
    add_parameter({p.input_dim(), p.num_output()}, p.weight_filler());
    if (p.bias_term()) add_parameter({p.num_output()}, p.bias_filler());
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    Shape out = bottom[0]->shape();
    out.push_back(param().embed_param().num_output());
    top[0]->reshape(out);
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const auto& p = param().embed_param();
    const int64_t count = bottom[0]->count(), outputs = p.num_output();
    const T* index = bottom[0]->data_as<T>();
    for (int64_t i = 0; i < count; ++i) {
      if (index[i] != kNoWord) checked_index(*this, index[i], p.input_dim(), i);
    }
    const T* weights = blobs()[0]->data_as<T>();
    const T* bias = p.bias_term() ? blobs()[1]->data_as<T>() : nullptr;
    T* y = top[0]->overwrite_data<T>();
    for_each_heavy(count, [=](int64_t i) {
      const auto word = static_cast<int64_t>(index[i]);
      const T* row = word == kNoWord ? nullptr : weights + word * outputs;
      for (int64_t j = 0; j < outputs; ++j) {
        y[i * outputs + j] = (row == nullptr ? T{0} : row[j]) + (bias == nullptr ? T{0} : bias[j]);
      }
    });
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>&, const Blobs& bottom) {
    const auto& p = param().embed_param();
    const int64_t count = bottom[0]->count(), outputs = p.num_output();
    const T* dy = top[0]->diff_as<T>();
    if (learns(0)) {
      const T* index = bottom[0]->data_as<T>();
      T* gradient = blobs()[0]->update_diff<T>();
      constexpr int64_t kColumns = 256;  // rows may repeat, so threads share them by columns
      for_each_heavy((outputs + kColumns - 1) / kColumns, [=](int64_t block) {
        const int64_t first = block * kColumns, last = std::min(first + kColumns, outputs);
        for (int64_t i = 0; i < count; ++i) {
          const auto word = static_cast<int64_t>(index[i]);
          if (word == kNoWord) continue;
          T* row = gradient + word * outputs;
          for (int64_t j = first; j < last; ++j) row[j] += dy[i * outputs + j];
        }
      });
    }
    if (p.bias_term() && learns(1)) {
      T* gradient = blobs()[1]->update_diff<T>();
      sum_over_middle<T>(
          {count, outputs, 1}, [=](int64_t i, int64_t) { return dy[i]; },
          [=](int64_t j, double total) { gradient[j] += static_cast<T>(total); });
    }
  }

 private:
  static constexpr int kNoWord = -1;
};

CAFFE_REGISTER_LAYER(Embed, EmbedLayer);

}  // namespace
}  // namespace caffe
