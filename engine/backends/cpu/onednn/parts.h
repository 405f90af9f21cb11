#pragma once

#include <algorithm>
#include <vector>

#include "backends/cpu/onednn/array.h"
#include "backends/cpu/onednn/primitive.h"
#include "kernels/for_each.h"

namespace caffe::onednn {

// A blob and those that lie side by side in it along one axis, all in formats in which each part is
// one run of memory per index of the axes before it.
class Parts {
 public:
  // The first format that somebody planned for one of `candidates` is taken where it allows that,
  // else plain.
  Parts(const Blob& whole, const Blobs& parts, int axis, const Blobs& candidates)
      : order_(common_order(parts, axis, candidates)),
        whole_(order_.of(whole)),
        outer_(order_.tag == Tag::nhwc ? whole.count() / whole.shape()[1]
                                       : whole.shape().count(0, axis)),
        row_(whole.count() / outer_) {
    for (const Blob* part : parts) parts_.push_back(order_.of(*part));
  }

  const Desc& whole() const { return whole_; }
  const Desc& part(size_t index) const { return parts_[index]; }

  // Copies part `index`, which begins `offset` elements into each row, from or to the whole.
  void extract(const void* whole, void* part, size_t index, int64_t offset) const {
    with_number(whole_, [&](auto number) {
      using T = decltype(number);
      const int64_t n = width(index), row = row_;
      const T* const from = static_cast<const T*>(whole) + offset;
      T* const to = static_cast<T*>(part);
      for_each_heavy(outer_, [=](int64_t o) { std::copy_n(from + o * row, n, to + o * n); });
    });
  }
  void insert(const void* part, void* whole, size_t index, int64_t offset) const {
    with_number(whole_, [&](auto number) {
      using T = decltype(number);
      const int64_t n = width(index), row = row_;
      const T* const from = static_cast<const T*>(part);
      T* const to = static_cast<T*>(whole) + offset;
      for_each_heavy(outer_, [=](int64_t o) { std::copy_n(from + o * n, n, to + o * row); });
    });
  }
  // Elements of a part in a row of the whole.
  int64_t width(size_t index) const { return elements(parts_[index]) / outer_; }

 private:
  using Tag = dnnl::memory::format_tag;

  // An order of the axes and a type of numbers; undef: a plain row.
  struct Order {
    Tag tag = Tag::undef;
    NumberType type = NumberType::f32;
    Desc of(const Blob& blob) const {
      return tag == Tag::undef ? row_major({blob.count()}) : Desc(dims_of(blob.shape()), type, tag);
    }
  };

  static Order common_order(const Blobs& parts, int axis, const Blobs& candidates) {
    if (axis != 1 || parts[0]->shape().axes() != 4) return {};
    const auto whole_blocks = [&](int64_t block) {
      return std::all_of(parts.begin(), parts.end(),
                         [=](const Blob* part) { return part->shape()[1] % block == 0; });
    };
    for (const Blob* blob : candidates) {
      const Desc planned = planned_format(blob->data(), dims_of(blob->shape()));
      if (is_plain(planned)) continue;
      const auto is = [&](Tag tag) { return planned == Order{tag, type(planned)}.of(*blob); };
      if (is(Tag::nhwc)) return {Tag::nhwc, type(planned)};
      if (is(Tag::nChw16c) && whole_blocks(16)) return {Tag::nChw16c, type(planned)};
      if (is(Tag::nChw8c) && whole_blocks(8)) return {Tag::nChw8c, type(planned)};
    }
    return {};
  }

  static NumberType type(const Desc& desc) { return desc.get_data_type(); }

  Order order_;
  Desc whole_;
  std::vector<Desc> parts_;
  int64_t outer_;
  int64_t row_;
};

}  // namespace caffe::onednn
