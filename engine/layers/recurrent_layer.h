#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/log.h"
#include "kernels/gemm.h"
#include "kernels/packed_product.h"
#include "kernels/reduce.h"
#include "layers/layer.h"

namespace caffe {

// What RNN and LSTM have in common. T time steps of N independent streams:
//   bottoms  x (T x N x ...), cont (T x N; 0 where a sequence begins), [static input (N x ...)],
//            with expose_hidden the initial states (1 x N x H each);
//   tops     T x N x H, with expose_hidden the last states (1 x N x H each).
// Without expose_hidden the last states of a pass are the initial ones of the next. As in Caffe, no
// gradient passes through states: those of the last ones are not looked at, the initial ones' are
// zero.
// Parameters: W_x (G x inputs), b (G), [W_static (G x static inputs)], W_h (G x H), then Self's
// own; G = Self::kGates * H. The gates' inputs of all steps are one product of matrices; only the
// hidden part is computed step by step.
//
// Self gives kGates, kStates (the hidden state is the first), kOwnParameters, and
//   add_own_parameters()
//   T* hidden(top)                        the hidden states of all steps, to write
//   forward_step(t, gates, cont, initial, top)      gates: N x G, activated in place
//   const T* state(s, top)                state s of all steps
//   finish_forward(top)
//   start_backward(top, dh)               dh (T x N x H) from the first top's gradient; adds its
//   own
//                                         parameters' gradients
//   backward_step(t, gates, dgates, dh, initial, dstates)   dgates: of the gates' inputs; takes the
//                                         gradients of all states but the hidden one a step back
template <typename Self>
class RecurrentLayer : public PortableLayer<Self> {
 public:
  RecurrentLayer(const LayerParameter& param, const RunContext& context)
      : PortableLayer<Self>(param, context),
        gates_(context.dtype),
        before_(context.dtype),
        hidden_gradient_(context.dtype),
        static_part_(context.dtype) {
    for (int s = 0; s < Self::kStates; ++s) {
      initial_.push_back(std::make_unique<Blob>(context.dtype));
      last_.push_back(std::make_unique<Blob>(context.dtype));
      state_gradient_.push_back(std::make_unique<Blob>(context.dtype));
    }
  }

  Arity bottoms() const override {
    const int least = 2 + exposed();
    return Arity::between(least, least + 1);
  }
  Arity tops() const override { return Arity::exactly(1 + exposed()); }
  bool allow_force_backward(int index) const override { return index != 1; }
  bool always_propagates(int index) const override {
    return index == 0 || (has_static_ && index == 2);
  }

  void set_up(const Blobs& bottom, const Blobs&) override {
    const auto& p = parameters();
    outputs_ = p.num_output();
    CAFFE_REQUIRE(outputs_ > 0, "num_output must be given in recurrent_param and be positive");
    CAFFE_REQUIRE(bottom[0]->shape().axes() >= 2, "found bottom ", bottom[0]->shape().str(),
                  ", expected time steps x streams x ...");
    has_static_ = static_cast<int>(bottom.size()) == 3 + exposed();
    inputs_ = bottom[0]->shape().count(2);
    static_inputs_ = has_static_ ? bottom[2]->shape().count(1) : 0;
    const int64_t gates = Self::kGates * outputs_;
    this->add_parameter({gates, inputs_}, p.weight_filler());
    this->add_parameter({gates}, p.bias_filler());
    if (has_static_) this->add_parameter({gates, static_inputs_}, p.weight_filler());
    this->add_parameter({gates, outputs_}, p.weight_filler());
    self().add_own_parameters();
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& x = bottom[0]->shape();
    CAFFE_REQUIRE(x.axes() >= 2 && x.count(2) == inputs_, "found bottom ", x.str(), ", expected ",
                  inputs_, " values per time step and stream, for which the weights were made");
    steps_ = x[0];
    streams_ = x[1];
    CAFFE_REQUIRE(steps_ > 0, "found bottom ", x.str(), ", expected at least one time step");
    CAFFE_REQUIRE((bottom[1]->shape() == Shape{steps_, streams_}), "found bottom 1 (cont) ",
                  bottom[1]->shape().str(), ", expected ", steps_, " ", streams_,
                  ": 0 where a sequence begins, else 1");
    if (has_static_) {
      const Shape& fixed = bottom[2]->shape();
      CAFFE_REQUIRE(fixed.axes() > 0 && fixed[0] == streams_ && fixed.count(1) == static_inputs_,
                    "found bottom 2 (static input) ", fixed.str(), ", expected ", streams_,
                    " rows of ", static_inputs_, " values");
      static_part_.reshape({streams_, gate_count()});
    }
    const Shape state{1, streams_, outputs_};
    for (int s = 0; s < exposed(); ++s) {
      const Blob& initial = *bottom[initial_state(s)];
      CAFFE_REQUIRE(initial.shape() == state, "found initial state ", initial.shape().str(),
                    ", expected ", state.str());
      top[static_cast<size_t>(1 + s)]->reshape(state);
    }
    for (auto* states : {&initial_, &last_}) {
      for (auto& blob : *states) {
        if (blob->shape() == state) continue;
        blob->reshape(state);
        blob->data().set_zero();
      }
    }
    for (auto& blob : state_gradient_) blob->reshape(state);
    top[0]->reshape({steps_, streams_, outputs_});
    gates_.reshape({steps_, streams_, gate_count()});
    before_.reshape({steps_, streams_, outputs_});
    hidden_gradient_.reshape({steps_, streams_, outputs_});
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const int64_t rows = steps_ * streams_, g = gate_count();
    T* gates = gates_.overwrite_data<T>();
    multiply(Product::kInput, Transpose::kNo, Transpose::kYes, rows, g, inputs_,
             bottom[0]->template data_as<T>(), parameter<T>(0), false, gates, 0);
    const T* fixed = static_part<T>(bottom);
    const T* cont = bottom[1]->template data_as<T>();
    const T* weights = parameter<T>(hidden_weights());
    T* before = before_.overwrite_data<T>();
    T* hidden = self().template hidden<T>(top);
    std::swap(initial_, last_);
    const std::vector<const T*> initial = initial_states<T>(bottom);
    for (int64_t t = 0; t < steps_; ++t) {
      const T* from = t == 0 ? initial[0] : hidden + (t - 1) * step();
      const T* go_on = cont + t * streams_;
      T* kept = before + t * step();
      T* now = gates + t * streams_ * g;
      const int64_t n = outputs_;
      for_each_heavy(streams_, [=](int64_t row) {
        for (int64_t j = row * n; j < (row + 1) * n; ++j) kept[j] = go_on[row] * from[j];
      });
      add_constant_part(fixed, now);
      multiply(Product::kHidden, Transpose::kNo, Transpose::kYes, streams_, g, n, kept, weights,
               true, now, hidden_weights());
      self().forward_step(t, now, go_on, initial, top);
    }
    self().template finish_forward<T>(top);
    if (parameters().debug_info()) log_states<T>(top);
    keep_last_states<T>(top);
  }

  template <typename T>
  void backward(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
    CAFFE_REQUIRE(!propagate_down[1], this->label(), " has no gradient for cont (bottom 1)");
    T* dh = hidden_gradient_.overwrite_data<T>();
    self().start_backward(top, dh);
    std::vector<T*> dstates;
    for (int s = 0; s < Self::kStates; ++s) {
      T* gradient = state_gradient_[static_cast<size_t>(s)]->template overwrite_data<T>();
      std::fill_n(gradient, step(), T{0});
      dstates.push_back(gradient);
    }
    const T* cont = bottom[1]->template data_as<T>();
    const T* weights = parameter<T>(hidden_weights());
    const std::vector<const T*> initial = initial_states<T>(bottom);
    T* gates = gates_.overwrite_diff<T>();
    for (int64_t t = steps_ - 1; t >= 0; --t) {
      const T* go_on = cont + t * streams_;
      T* now = gates + t * streams_ * gate_count();
      self().backward_step(t, gates_.data_as<T>() + t * streams_ * gate_count(), now,
                           dh + t * step(), initial, dstates);
      if (parameters().debug_info()) {
        CAFFE_LOG_INFO("    [Backward] Layer ", this->name(), ", bottom blob h_", t + 1,
                       " diff: ", mean_magnitude(dh + t * step(), step()));
      }
      if (t == 0) break;
      T* down = dstates[0];
      multiply(Product::kHiddenGradient, Transpose::kNo, Transpose::kNo, streams_, outputs_,
               gate_count(), now, weights, false, down, hidden_weights());
      T* earlier = dh + (t - 1) * step();
      const int64_t n = outputs_;
      for_each_heavy(streams_, [=](int64_t row) {
        for (int64_t j = row * n; j < (row + 1) * n; ++j) earlier[j] += go_on[row] * down[j];
      });
    }
    for (int s = 0; s < exposed(); ++s) {
      if (!propagate_down[initial_state(s)]) continue;
      std::fill_n(bottom[initial_state(s)]->template overwrite_diff<T>(), step(), T{0});
    }
    gate_gradients<T>(gates, propagate_down, bottom);
  }

 protected:
  // Of all steps. Data: activated; diff: the gradients of their inputs, until backward has begun
  // its steps free for other use.
  Blob& gates() { return gates_; }
  // Elements of a state of all streams.
  int64_t step() const { return streams_ * outputs_; }
  const RecurrentParameter& parameters() const { return this->param().recurrent_param(); }
  size_t hidden_weights() const { return has_static_ ? 3 : 2; }
  template <typename T>
  const T* parameter(size_t index) const {
    return this->blobs()[index]->template data_as<T>();
  }
  template <typename T>
  T* parameter_gradient(size_t index) {
    return this->blobs()[index]->template update_diff<T>();
  }
  // dW (columns of dy x columns of x) += dy^T x, db += column sums of dy, for the two parameters.
  template <typename T>
  void add_gradient(size_t index, const T* dy, const T* x, int64_t rows, int64_t columns,
                    int64_t inputs) {
    if (!this->learns(static_cast<int>(index))) return;
    multiply(weights_gradient(index), Transpose::kYes, Transpose::kNo, columns, inputs, rows, dy, x,
             true, parameter_gradient<T>(index));
  }
  template <typename T>
  void add_bias_gradient(size_t index, const T* dy, int64_t rows, int64_t columns) {
    if (!this->learns(static_cast<int>(index))) return;
    T* db = parameter_gradient<T>(index);
    sum_over_middle<T>(
        {rows, columns, 1}, [=](int64_t i, int64_t) { return dy[i]; },
        [=](int64_t c, double total) { db[c] += static_cast<T>(total); });
  }

  int64_t steps_ = 1;
  int64_t streams_ = 1;
  int64_t outputs_ = 0;

 private:
  // Where matrices are multiplied. From kWeightsGradient on: of parameter 0, 1 and so on.
  enum class Product {
    kInput,
    kHidden,
    kStatic,
    kInputGradient,
    kHiddenGradient,
    kStaticGradient,
    kWeightsGradient
  };
  static Product weights_gradient(size_t index) {
    return static_cast<Product>(static_cast<size_t>(Product::kWeightsGradient) + index);
  }

  // c = op(a) op(b), or c += that where it adds, in the net's precision. `weights`: the parameter
  // that b is; it is packed anew only after it was written.
  template <typename T>
  void multiply(Product product, Transpose trans_a, Transpose trans_b, int64_t m, int64_t n,
                int64_t k, const T* a, const T* b, bool adds, T* c,
                std::optional<size_t> weights = std::nullopt) {
    if constexpr (std::is_same_v<T, float>) {
      const PackedProduct::Shape shape{this->context().precision, trans_a, trans_b, m, n, k, adds};
      if (PackedProduct::faster(shape)) {
        Packed& packed = packed_[product];
        const bool fresh = !packed.product || packed.product->shape() != shape;
        if (fresh) packed.product = std::make_unique<PackedProduct>(shape);
        const Buffer* source = weights ? &this->blobs()[*weights]->data() : nullptr;
        const bool same =
            source != nullptr && packed.source == source && packed.version == source->version();
        if (fresh || !same) packed.product->set_b(b);
        packed.source = source;
        packed.version = source != nullptr ? source->version() : 0;
        return packed.product->run(a, c);
      }
    }
    gemm(trans_a, trans_b, m, n, k, T{1}, a, b, T(adds ? 1 : 0), c);
  }

  Self& self() { return static_cast<Self&>(*this); }
  int exposed() const { return parameters().expose_hidden() ? Self::kStates : 0; }
  int64_t gate_count() const { return Self::kGates * outputs_; }
  size_t initial_state(int state) const {
    return static_cast<size_t>(2 + (has_static_ ? 1 : 0) + state);
  }

  template <typename T>
  std::vector<const T*> initial_states(const Blobs& bottom) const {
    std::vector<const T*> states;
    for (int s = 0; s < Self::kStates; ++s) {
      const Blob& blob =
          exposed() > 0 ? *bottom[initial_state(s)] : *initial_[static_cast<size_t>(s)];
      states.push_back(blob.template data_as<T>());
    }
    return states;
  }

  template <typename T>
  static double mean_magnitude(const T* x, int64_t n) {
    return parallel_sum<T>(n, [=](int64_t i) { return std::abs(x[i]); }) /
           static_cast<double>(std::max<int64_t>(n, 1));
  }

  // As Caffe's unrolled net does: h_1 is the hidden state after the first step, c_1 the cell's.
  template <typename T>
  void log_states(const Blobs& top) {
    for (int64_t t = 0; t < steps_; ++t) {
      for (int s = 0; s < Self::kStates; ++s) {
        const T* states = self().template state<T>(s, top);
        CAFFE_LOG_INFO("    [Forward] Layer ", this->name(), ", top blob ", "hc"[s], "_", t + 1,
                       " data: ", mean_magnitude(states + t * step(), step()));
      }
    }
  }

  // What the static input adds to the gates of every step; null if there is none.
  template <typename T>
  const T* static_part(const Blobs& bottom) {
    if (!has_static_) return nullptr;
    T* part = static_part_.overwrite_data<T>();
    multiply(Product::kStatic, Transpose::kNo, Transpose::kYes, streams_, gate_count(),
             static_inputs_, bottom[2]->template data_as<T>(), parameter<T>(2), false, part, 2);
    return part;
  }

  // Adds bias and static part to the gates of a step.
  template <typename T>
  void add_constant_part(const T* fixed, T* gates) {
    const int64_t g = gate_count();
    const T* bias = parameter<T>(1);
    for_each_heavy(streams_, [=](int64_t row) {
      T* gate = gates + row * g;
      if (fixed == nullptr) {
        for (int64_t j = 0; j < g; ++j) gate[j] += bias[j];
      } else {
        const T* add = fixed + row * g;
        for (int64_t j = 0; j < g; ++j) gate[j] += bias[j] + add[j];
      }
    });
  }

  template <typename T>
  void keep_last_states(const Blobs& top) {
    for (int s = 0; s < Self::kStates; ++s) {
      const T* last = self().template state<T>(s, top) + (steps_ - 1) * step();
      Blob& kept =
          exposed() > 0 ? *top[static_cast<size_t>(1 + s)] : *last_[static_cast<size_t>(s)];
      std::copy_n(last, step(), kept.template overwrite_data<T>());
    }
  }

  template <typename T>
  void gate_gradients(const T* gates, const std::vector<bool>& propagate_down,
                      const Blobs& bottom) {
    const int64_t rows = steps_ * streams_, g = gate_count();
    add_gradient(0, gates, bottom[0]->template data_as<T>(), rows, g, inputs_);
    add_bias_gradient(1, gates, rows, g);
    add_gradient(hidden_weights(), gates, before_.data_as<T>(), rows, g, outputs_);
    if (propagate_down[0]) {
      multiply(Product::kInputGradient, Transpose::kNo, Transpose::kNo, rows, inputs_, g, gates,
               parameter<T>(0), false, bottom[0]->template overwrite_diff<T>(), 0);
    }
    if (!has_static_) return;
    T* total = static_part_.overwrite_diff<T>();
    const int64_t each = streams_ * g, steps = steps_;
    for_each(each, [=](int64_t i) {
      T sum = 0;
      for (int64_t t = 0; t < steps; ++t) sum += gates[t * each + i];
      total[i] = sum;
    });
    add_gradient(2, static_cast<const T*>(total), bottom[2]->template data_as<T>(), streams_, g,
                 static_inputs_);
    if (propagate_down[2]) {
      multiply(Product::kStaticGradient, Transpose::kNo, Transpose::kNo, streams_, static_inputs_,
               g, static_cast<const T*>(total), parameter<T>(2), false,
               bottom[2]->template overwrite_diff<T>(), 2);
    }
  }

  bool has_static_ = false;
  int64_t inputs_ = 0;
  int64_t static_inputs_ = 0;
  Blob gates_;
  Blob before_;           // the hidden state each step starts from: zero where a sequence begins
  Blob hidden_gradient_;  // of all steps
  Blob static_part_;      // what the static input adds to the gates, and its gradient
  struct Packed {
    std::unique_ptr<PackedProduct> product;
    const Buffer* source = nullptr;  // the weights in it, as they were in this version
    uint64_t version = 0;
  };
  std::map<Product, Packed> packed_;
  std::vector<std::unique_ptr<Blob>> initial_;         // states the pass at hand began with
  std::vector<std::unique_ptr<Blob>> last_;            // and ended with; unless they are exposed
  std::vector<std::unique_ptr<Blob>> state_gradient_;  // of the states before the step at hand
};

}  // namespace caffe
