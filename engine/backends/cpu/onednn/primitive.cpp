#include "backends/cpu/onednn/primitive.h"

#include "kernels/for_each.h"

namespace caffe::onednn {

void check(dnnl_status_t status, const char* what) {
  CAFFE_REQUIRE_CODE(status == dnnl_success, ErrorCode::kInternal, "oneDNN failed with status ",
                     static_cast<int>(status), " on ", what);
}

dnnl::primitive_attr strict_attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attributes.set_fpmath_mode(dnnl::fpmath_mode::strict);
  return attributes;
}

Step::Step(const dnnl::primitive_desc_base& description) {
  dnnl_primitive_t primitive = nullptr;
  dnnl::error::wrap_c_api(dnnl_primitive_create(&primitive, description.get()),
                          "could not create a primitive");
  primitive_.reset(primitive);
  const Desc scratchpad = description.scratchpad_desc();
  scratchpad_bytes_ = scratchpad.get_size();
  add(DNNL_ARG_SCRATCHPAD, scratchpad, nullptr, 0, Access::kRead, nullptr);
}

Step& Step::bind(int id, const Desc& desc, Buffer& buffer, Access access) {
  return add(id, desc, &buffer, buffer.representation(layout_of(desc)), access, nullptr);
}

Step& Step::bind(int id, const Desc& desc, const Desc& plain, Buffer& buffer, Access access) {
  return add(id, desc, &buffer, buffer.representation(layout_of(desc, plain)), access, nullptr);
}

Step& Step::bind(int id, const Desc& desc, void* memory) {
  return add(id, desc, nullptr, 0, Access::kRead, memory);
}

Step& Step::add(int id, const Desc& desc, Buffer* buffer, int representation, Access access,
                void* data) {
  const dnnl::memory memory(desc, cpu_engine(), data);
  operands_.push_back({id, memory, buffer, representation, access, data});
  arguments_.push_back({id, memory.get()});
  return *this;
}

void Step::point(Operand& operand, void* data) {
  if (operand.bound == data) return;
  check(dnnl_memory_set_data_handle(operand.memory.get(), data), "an operand's address");
  operand.bound = data;
}

Step& Step::set(int id, void* memory) {
  for (Operand& operand : operands_) {
    if (operand.id == id) point(operand, memory);
  }
  return *this;
}

void Step::run() {
  for (Operand& operand : operands_) {
    if (operand.buffer == nullptr) continue;
    Buffer& buffer = *operand.buffer;
    const int index = operand.representation;
    point(operand, operand.access == Access::kRead    ? const_cast<void*>(buffer.read(index))
                   : operand.access == Access::kWrite ? buffer.write(index)
                                                      : buffer.update(index));
  }
  // Last, because reorders done just now use the same memory.
  point(operands_[0], thread_scratchpad(scratchpad_bytes_));
  check(dnnl_primitive_execute(primitive_.get(), thread_stream(),
                               static_cast<int>(arguments_.size()), arguments_.data()),
        "a primitive");
}

void Step::add_uses(BufferUses* uses) const {
  for (const Operand& operand : operands_) {
    if (operand.buffer != nullptr)
      uses->push_back({operand.buffer, operand.representation, operand.access});
  }
}

BufferUses uses_of(std::initializer_list<const Step*> steps) {
  BufferUses uses;
  for (const Step* step : steps) {
    if (step != nullptr) step->add_uses(&uses);
  }
  return uses;
}

void bind_in_out(Step& step, int source_id, const Desc& source, Buffer& in, int destination_id,
                 const Desc& destination, Buffer& out) {
  const bool in_place = &in == &out;
  step.bind(source_id, source, in, in_place ? Access::kUpdate : Access::kRead);
  step.bind(destination_id, destination, out, in_place ? Access::kUpdate : Access::kWrite);
}

ParameterGradient::ParameterGradient(const Desc& desc, Buffer* diff)
    : ParameterGradient(desc, row_major(desc.get_dims()), diff) {}

ParameterGradient::ParameterGradient(const Desc& desc, const Desc& plain, Buffer* diff)
    : bytes_(desc.get_size()),
      diff_(diff),
      representation_(diff == nullptr ? 0 : diff->representation(layout_of(desc, plain))) {}

void* ParameterGradient::begin() {
  direct_ = diff_ != nullptr && diff_->is_zero();
  return direct_ ? diff_->write(representation_) : aside();
}

void ParameterGradient::end() {
  if (direct_ || diff_ == nullptr) return;
  const auto* gradient = static_cast<const float*>(aside());
  auto* sum = static_cast<float*>(diff_->update(representation_));
  for_each(static_cast<int64_t>(bytes_ / sizeof(float)), [=](int64_t i) { sum[i] += gradient[i]; });
}

void* ParameterGradient::aside() {
  if (!aside_) aside_ = std::make_unique<Storage>(bytes_);
  return aside_->data();
}

void require_supported(const Operation& operation) {
  const auto inspect = [](const Blobs& blobs) {
    for (const Blob* blob : blobs) {
      if (blob->dtype() != DType::kF32) throw Refusal{"only float32"};
      if (blob->count() == 0) throw Refusal{"a blob is empty"};
    }
  };
  inspect(operation.bottom);
  inspect(operation.joined);
  inspect(operation.top);
}

void require_no_fusion(const Operation& operation) {
  if (!operation.fused.empty()) throw Refusal{"fuses nothing"};
}

bool fuses_relu(const Operation& operation) {
  if (operation.fused.empty()) return false;
  const LayerParameter& last = operation.fused.back()->param();
  if (operation.top.size() != 1) throw Refusal{"fuses only where there is one top"};
  if (last.type() != "ReLU") return false;
  if (last.relu_param().negative_slope() != 0) throw Refusal{"fuses no ReLU with a negative_slope"};
  return true;
}

void* layer_workspace(Layer& layer, size_t bytes, size_t part) {
  std::shared_ptr<Storage>& storage = layer.workspace(part);
  if (!storage || storage->bytes() != bytes) storage = std::make_shared<Storage>(bytes);
  return storage->data();
}

bool propagates_down(const Operation& operation, size_t index) {
  return operation.backward && index < operation.propagate_down.size() &&
         operation.propagate_down[index];
}

bool is_reference(const dnnl::primitive_desc_base& description) {
  return std::string(description.impl_info_str()).find("ref") != std::string::npos;
}

std::string describe(const dnnl::primitive_desc_base& description, const Desc& source,
                     const Desc& destination, const std::string& fused) {
  return description.impl_info_str() + fused + " " + format_name(source) + " -> " +
         format_name(destination);
}

}  // namespace caffe::onednn
