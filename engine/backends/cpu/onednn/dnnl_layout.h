#pragma once

#include <atomic>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "core/buffer.h"
#include "core/shape.h"

namespace caffe::onednn {

using Desc = dnnl::memory::desc;
using Dims = dnnl::memory::dims;
using NumberType = dnnl::memory::data_type;

// The one CPU engine of this process, and the calling thread's stream on it.
const dnnl::engine& cpu_engine();
dnnl_stream_t thread_stream();

// Memory of the calling thread that primitives use while they run; at least `bytes` long, valid
// until the next call.
void* thread_scratchpad(size_t bytes);

// An array in one of oneDNN's memory formats, of float or bf16. Its plain form has the same logical
// dimensions; it is row-major float but where Caffe orders a parameter's axes otherwise than
// oneDNN.
class DnnlLayout : public Layout {
 public:
  DnnlLayout(const Desc& desc, const Desc& plain);
  ~DnnlLayout() override;

  const Desc& desc() const { return desc_; }
  size_t bytes() const override { return desc_.get_size(); }
  std::string name() const override;
  bool same(const Layout& other) const override;
  bool exact() const override { return desc_.get_data_type() == NumberType::f32; }
  void to_plain(const void* source, void* plain) const override;
  void from_plain(const void* plain, void* destination) const override;
  bool convert_from(const Layout& other, const void* source, void* destination) const override;

 private:
  struct Reorder;
  const Reorder* reorder(const Desc& from, const Desc& to) const;
  void run(const Desc& from, const void* source, const Desc& to, void* destination) const;

  Desc desc_;
  Desc plain_;
  // Reorders used so far. The list only grows, so that threads may walk it while one adds to it.
  mutable std::atomic<Reorder*> reorders_{nullptr};
};

Dims dims_of(const Shape& shape);
// Row-major; "any": oneDNN chooses.
Desc row_major(const Dims& dims, NumberType type = NumberType::f32);
Desc any_format(const Dims& dims, NumberType type);
// Row-major float.
bool is_plain(const Desc& desc);
// The same order of float numbers, where it is one that images have; else row-major.
Desc as_float(const Desc& desc);

inline int64_t elements(const Desc& format) {
  return static_cast<int64_t>(format.get_size() /
                              dnnl::memory::data_type_size(format.get_data_type()));
}

// For Buffer::representation, of a buffer whose plain form is row-major or `plain`: null where the
// format is that.
LayoutPtr layout_of(const Desc& desc);
LayoutPtr layout_of(const Desc& desc, const Desc& plain);

// The format that the first planner of a buffer gave it, if it has these dimensions; row-major if
// there is none. A layer that takes this one works on what its neighbour wrote without a reorder.
Desc planned_format(const Buffer& buffer, const Dims& dims);

// As oneDNN's logs print it: "aBcd16b".
std::string format_name(const Desc& desc);

}  // namespace caffe::onednn
