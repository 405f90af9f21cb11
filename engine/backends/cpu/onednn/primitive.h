#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <string>
#include <vector>

#include "backends/cpu/onednn/dnnl_layout.h"
#include "layers/operation.h"

namespace caffe::onednn {

// Throws an internal error that names `what` unless oneDNN succeeded.
void check(dnnl_status_t status, const char* what);

// What every primitive is created with: no precision is given away, and the scratchpad is ours.
dnnl::primitive_attr strict_attributes();

// A primitive and its operands, bound once. Running it asks each buffer for its memory, which
// converts what is not there in the format needed, and executes; nothing is created or looked up.
class Step {
 public:
  explicit Step(const dnnl::primitive_desc_base& description);

  // Binds operand `id` (DNNL_ARG_...) to a buffer. Operands are fetched in the order they were
  // bound.
  Step& bind(int id, const Desc& desc, Buffer& buffer, Access access);
  // The same for a buffer whose plain form is not row-major but `plain` (a transposed matrix).
  Step& bind(int id, const Desc& desc, const Desc& plain, Buffer& buffer, Access access);
  // Binds to memory that stays where it is; null: set before each run.
  Step& bind(int id, const Desc& desc, void* memory);
  Step& set(int id, void* memory);
  void run();
  // Adds the buffers it is bound to.
  void add_uses(BufferUses* uses) const;

 private:
  struct Operand {
    int id;
    dnnl::memory memory;
    Buffer* buffer;
    int representation;
    Access access;
    void* bound;
  };
  Step& add(int id, const Desc& desc, Buffer* buffer, int representation, Access access,
            void* data);
  static void point(Operand& operand, void* data);

  dnnl::primitive primitive_;
  std::vector<Operand> operands_;
  std::vector<dnnl_exec_arg_t> arguments_;
  size_t scratchpad_bytes_;
};

// Source and destination of an operation that may work in place.
void bind_in_out(Step& step, int source_id, const Desc& source, Buffer& in, int destination_id,
                 const Desc& destination, Buffer& out);

// Takes up the gradient of a parameter: straight into the diff while that is still zero, else
// beside it, to be added.
class ParameterGradient {
 public:
  // `diff` null: the gradient is not wanted and goes nowhere.
  ParameterGradient(const Desc& desc, Buffer* diff);
  ParameterGradient(const Desc& desc, const Desc& plain, Buffer* diff);
  void* begin();  // where the primitive may write
  void end();     // after it has written

 private:
  void* aside();

  size_t bytes_;
  Buffer* diff_;
  int representation_ = 0;
  bool direct_ = false;
  std::unique_ptr<Storage> aside_;
};

// Learned weights stay in the format of their gradient, beside the rounded ones that are
// multiplied.
inline void keep_master(const Desc& gradient, const Desc& plain, Buffer& weights) {
  weights.representation(layout_of(gradient, plain));
}

// What steps that run one after another touch; those that are missing touch nothing.
BufferUses uses_of(std::initializer_list<const Step*> steps);
inline const Step* pointer_to(const std::optional<Step>& step) { return step ? &*step : nullptr; }

// Of activations and their gradients, and of weights where they are multiplied.
inline NumberType number_type(const Operation& operation) {
  const bool rounds = operation.layer->context().precision == Precision::kBF16;
  return rounds ? NumberType::bf16 : NumberType::f32;
}

// Refuses what no implementation of this backend takes: doubles, empty arrays.
void require_supported(const Operation& operation);
void require_no_fusion(const Operation& operation);
// Whether a ReLU is the last layer that the operation takes along; refuses one with a slope.
bool fuses_relu(const Operation& operation);
inline dnnl::prop_kind forward_kind(const Operation& operation) {
  return operation.backward ? dnnl::prop_kind::forward_training
                            : dnnl::prop_kind::forward_inference;
}
// The layer's workspace, of this size.
void* layer_workspace(Layer& layer, size_t bytes, size_t part = 0);
// Whether the diff of bottom `index` is wanted.
bool propagates_down(const Operation& operation, size_t index);

// Whether oneDNN has only its slow reference code for this.
bool is_reference(const dnnl::primitive_desc_base& description);
// The first of these descriptions that runs the same kernel as the last, which is oneDNN's free
// choice: formats that others already use are kept where that costs no speed. Those that oneDNN
// refuses are passed over.
template <typename Description>
Description prefer(const std::vector<std::function<Description()>>& candidates) {
  const Description free = candidates.back()();
  for (const auto& candidate : candidates) {
    try {
      const Description description = candidate();
      if (std::string(description.impl_info_str()) == free.impl_info_str()) return description;
    } catch (const dnnl::error&) {
    }
  }
  return free;
}
// "jit:avx512_core abcd -> aBcd16b"; `fused`: "+ReLU".
std::string describe(const dnnl::primitive_desc_base& description, const Desc& source,
                     const Desc& destination, const std::string& fused = "");

// Registers make<Class> with what oneDNN itself refuses turned into a Refusal.
template <typename Class>
std::unique_ptr<Implementation> make(const Operation& operation) {
  try {
    require_supported(operation);
    return std::make_unique<Class>(operation);
  } catch (const dnnl::error& error) {
    throw Refusal{std::string("oneDNN: ") + error.what()};
  }
}

// What all implementations of this backend have in common.
class DnnlImplementation : public Implementation {
 public:
  std::string name() const override { return "onednn"; }
  std::string details() const override { return details_; }

 protected:
  std::string details_;
};

}  // namespace caffe::onednn
