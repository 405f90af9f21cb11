#include "kernels/packed_product.h"

#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "core/bf16.h"
#include "core/clones.h"
#include "core/error.h"
#include "kernels/for_each.h"

namespace caffe {
namespace {

using Desc = dnnl::memory::desc;
using Type = dnnl::memory::data_type;
using Arguments = std::unordered_map<int, dnnl::memory>;

CAFFE_CLONES void round_range(const float* from, BF16* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

void round_all(const float* from, BF16* to, int64_t n) {
  for_each_piece(
      n, [=](int64_t begin, int64_t end) { round_range(from + begin, to + begin, end - begin); });
}

Desc matrix(Transpose transpose, int64_t rows, int64_t columns, Type type) {
  const bool exchanged = transpose == Transpose::kYes;
  const dnnl::memory::dims strides =
      exchanged ? dnnl::memory::dims{1, rows} : dnnl::memory::dims{columns, 1};
  return Desc({rows, columns}, type, strides);
}

dnnl::primitive_attr attributes(bool adds) {
  dnnl::primitive_attr attributes;
  if (adds) {
    dnnl::post_ops after;
    after.append_sum(1);
    attributes.set_post_ops(after);
  }
  return attributes;
}

}  // namespace

struct PackedProduct::Kernel {
  explicit Kernel(const Shape& s)
      : engine(dnnl::engine::kind::cpu, 0),
        stream(engine),
        description(engine, matrix(s.trans_a, s.m, s.k, type(s)),
                    Desc({s.k, s.n}, type(s), dnnl::memory::format_tag::any),
                    matrix(Transpose::kNo, s.m, s.n, Type::f32), attributes(s.adds)),
        multiply(description),
        plain_b(matrix(s.trans_b, s.k, s.n, Type::f32), engine, nullptr),
        b(description.weights_desc(), engine),
        pack(plain_b, b),
        a(s.precision == Precision::kBF16 ? dnnl::memory(description.src_desc(), engine)
                                          : dnnl::memory(description.src_desc(), engine, nullptr)),
        c(description.dst_desc(), engine, nullptr),
        arguments({{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}}) {}

  static Type type(const Shape& s) {
    return s.precision == Precision::kBF16 ? Type::bf16 : Type::f32;
  }

  dnnl::engine engine;
  dnnl::stream stream;
  dnnl::matmul::primitive_desc description;
  dnnl::matmul multiply;
  dnnl::memory plain_b, b;
  dnnl::reorder pack;
  dnnl::memory a, c;
  Arguments arguments;
};

// oneDNN's general product takes weights as Caffe keeps them, one output a row, at a fifth of the
// speed where AVX-512 meets few rows. (With AVX2 there is few_rows.h.) In other orders it is as
// fast.
bool PackedProduct::faster(const Shape& shape) {
  if (shape.precision == Precision::kBF16) return true;
#ifdef __x86_64__
  static const bool wide = __builtin_cpu_supports("avx512f");
  return wide && shape.trans_a == Transpose::kNo && shape.trans_b == Transpose::kYes && shape.m > 1;
#else
  return false;
#endif
}

PackedProduct::PackedProduct(const Shape& shape) : shape_(shape) {
  try {
    kernel_ = std::make_unique<Kernel>(shape);
  } catch (const dnnl::error& error) {
    fail(ErrorCode::kInternal, "a product of matrices of ", shape.m, "x", shape.k, " and ", shape.k,
         "x", shape.n, " failed: oneDNN: ", error.what());
  }
}

PackedProduct::~PackedProduct() = default;

void PackedProduct::set_b(const float* b) {
  kernel_->plain_b.set_data_handle(const_cast<float*>(b));
  kernel_->pack.execute(kernel_->stream, kernel_->plain_b, kernel_->b);
}

void PackedProduct::run(const float* a, float* c) {
  if (shape_.precision == Precision::kBF16) {
    round_all(a, static_cast<BF16*>(kernel_->a.get_data_handle()), shape_.m * shape_.k);
  } else {
    kernel_->a.set_data_handle(const_cast<float*>(a));
  }
  kernel_->c.set_data_handle(c);
  kernel_->multiply.execute(kernel_->stream, kernel_->arguments);
}

}  // namespace caffe
