#include "backends/cpu/onednn/dnnl_layout.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "backends/cpu/onednn/primitive.h"

namespace caffe::onednn {
namespace {

Dims row_major_strides(const Dims& dims) {
  Dims strides(dims.size(), 1);
  for (size_t i = dims.size() - 1; i > 0; --i)
    strides[i - 1] = strides[i] * std::max<int64_t>(dims[i], 1);
  return strides;
}

// Whether the numbers lie in the same order, without gaps.
bool same_order(const Desc& desc, const Desc& plain) {
  if (desc.get_inner_nblks() != 0) return false;
  const Dims dims = desc.get_dims(), strides = desc.get_strides(), expected = plain.get_strides();
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] != 1 && strides[i] != expected[i]) return false;
  }
  return desc.get_padded_dims() == dims;
}

}  // namespace

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl_stream_t thread_stream() {
  thread_local const dnnl::stream stream(cpu_engine());
  return stream.get();
}

void* thread_scratchpad(size_t bytes) {
  thread_local std::unique_ptr<Storage> storage;
  if (bytes == 0) return nullptr;
  if (!storage || storage->bytes() < bytes) [[unlikely]] {
    storage.reset();
    storage = std::make_unique<Storage>(bytes);
  }
  return storage->data();
}

struct DnnlLayout::Reorder {
  Desc from, to;
  dnnl::reorder primitive;
  size_t scratchpad_bytes;
  Desc scratchpad;
  Reorder* next = nullptr;
};

DnnlLayout::DnnlLayout(const Desc& desc, const Desc& plain) : desc_(desc), plain_(plain) {}

DnnlLayout::~DnnlLayout() {
  for (const Reorder* entry = reorders_; entry != nullptr;) {
    const Reorder* next = entry->next;
    delete entry;
    entry = next;
  }
}

std::string DnnlLayout::name() const { return format_name(desc_); }

bool DnnlLayout::same(const Layout& other) const {
  const auto* layout = dynamic_cast<const DnnlLayout*>(&other);
  return layout != nullptr && layout->desc_ == desc_ && layout->plain_ == plain_;
}

void DnnlLayout::to_plain(const void* source, void* plain) const {
  run(desc_, source, plain_, plain);
}

void DnnlLayout::from_plain(const void* plain, void* destination) const {
  run(plain_, plain, desc_, destination);
}

bool DnnlLayout::convert_from(const Layout& other, const void* source, void* destination) const {
  const auto* layout = dynamic_cast<const DnnlLayout*>(&other);
  if (layout == nullptr) return false;
  if (layout->plain_ == plain_) {
    run(layout->desc_, source, desc_, destination);
    return true;
  }
  // The same row of numbers seen with other axes.
  const auto in_row = [](const DnnlLayout& one) {
    const Dims dims = one.desc_.get_dims();
    return same_order(one.desc_, row_major(dims)) && one.plain_ == row_major(dims);
  };
  const Dims mine = desc_.get_dims(), theirs = layout->desc_.get_dims();
  if (in_row(*this) && layout->plain_ == row_major(theirs)) {
    run(layout->desc_, source, row_major(theirs, desc_.get_data_type()), destination);
  } else if (in_row(*layout) && plain_ == row_major(mine)) {
    run(row_major(mine, layout->desc_.get_data_type()), source, desc_, destination);
  } else {
    return false;
  }
  return true;
}

const DnnlLayout::Reorder* DnnlLayout::reorder(const Desc& from, const Desc& to) const {
  for (const Reorder* entry = reorders_.load(std::memory_order_acquire); entry != nullptr;
       entry = entry->next) {
    if (entry->from == from && entry->to == to) return entry;
  }
  const dnnl::reorder::primitive_desc pd(cpu_engine(), from, cpu_engine(), to, strict_attributes());
  auto entry = std::make_unique<Reorder>(
      Reorder{from, to, dnnl::reorder(pd), pd.scratchpad_desc().get_size(), pd.scratchpad_desc()});
  entry->next = reorders_.load(std::memory_order_relaxed);
  while (!reorders_.compare_exchange_weak(entry->next, entry.get(), std::memory_order_release)) {
  }
  return entry.release();
}

void DnnlLayout::run(const Desc& from, const void* source, const Desc& to,
                     void* destination) const {
  const Reorder* entry = reorder(from, to);
  // Memory objects of this call's own: a layout serves several buffers, perhaps in several threads.
  dnnl_memory_t memory[3] = {};
  const auto create = [&](int i, const Desc& desc, void* data) {
    check(dnnl_memory_create(&memory[i], desc.get(), cpu_engine().get(), data),
          "a reorder's operand");
  };
  create(0, from, const_cast<void*>(source));
  create(1, to, destination);
  create(2, entry->scratchpad, thread_scratchpad(entry->scratchpad_bytes));
  const dnnl_exec_arg_t arguments[] = {
      {DNNL_ARG_FROM, memory[0]}, {DNNL_ARG_TO, memory[1]}, {DNNL_ARG_SCRATCHPAD, memory[2]}};
  const dnnl_status_t status =
      dnnl_primitive_execute(entry->primitive.get(), thread_stream(), 3, arguments);
  for (dnnl_memory_t operand : memory) dnnl_memory_destroy(operand);
  check(status, "a reorder");
}

Dims dims_of(const Shape& shape) { return shape.axes() == 0 ? Dims{1} : shape.dims(); }

Desc row_major(const Dims& dims, NumberType type) {
  return Desc(dims, type, row_major_strides(dims));
}

Desc any_format(const Dims& dims, NumberType type) {
  return Desc(dims, type, dnnl::memory::format_tag::any);
}

bool is_plain(const Desc& desc) {
  return desc.get_data_type() == NumberType::f32 && same_order(desc, row_major(desc.get_dims()));
}

Desc as_float(const Desc& desc) {
  using Tag = dnnl::memory::format_tag;
  const Dims dims = desc.get_dims();
  const std::vector<Tag> tags = dims.size() == 3   ? std::vector{Tag::nCw16c, Tag::nwc}
                                : dims.size() == 4 ? std::vector{Tag::nChw16c, Tag::nhwc}
                                : dims.size() == 5 ? std::vector{Tag::nCdhw16c, Tag::ndhwc}
                                                   : std::vector<Tag>{};
  for (const Tag tag : tags) {
    if (Desc(dims, desc.get_data_type(), tag) == desc) return Desc(dims, NumberType::f32, tag);
  }
  return desc.get_data_type() == NumberType::f32 ? desc : row_major(dims);
}

LayoutPtr layout_of(const Desc& desc) { return layout_of(desc, row_major(desc.get_dims())); }

LayoutPtr layout_of(const Desc& desc, const Desc& plain) {
  const bool floats = desc.get_data_type() == NumberType::f32;
  return floats && same_order(desc, plain) ? nullptr
                                           : std::make_shared<const DnnlLayout>(desc, plain);
}

Desc planned_format(const Buffer& buffer, const Dims& dims) {
  for (int i = 1; i < buffer.representations(); ++i) {
    const auto* layout = dynamic_cast<const DnnlLayout*>(buffer.layout(i).get());
    if (layout != nullptr && layout->desc().get_dims() == dims) return layout->desc();
  }
  return row_major(dims);
}

std::string format_name(const Desc& desc) {
  const int n = desc.get_ndims();
  const Dims strides = desc.get_strides(), blocks = desc.get_inner_blks(),
             inner = desc.get_inner_idxs();
  std::vector<int> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return strides[static_cast<size_t>(a)] > strides[static_cast<size_t>(b)];
  });
  std::string name;
  for (const int axis : order) {
    const bool blocked = std::find(inner.begin(), inner.end(), axis) != inner.end();
    name += static_cast<char>((blocked ? 'A' : 'a') + axis);
  }
  for (size_t i = 0; i < inner.size(); ++i) {
    name += std::to_string(blocks[i]) + static_cast<char>('a' + inner[i]);
  }
  return desc.get_data_type() == NumberType::f32 ? name : name + " bf16";
}

}  // namespace caffe::onednn
