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
      : tag_(common_tag(parts, axis, candidates)),
        whole_(format(whole)),
        outer_(tag_ == Tag::nhwc ? whole.count() / whole.shape()[1] : whole.shape().count(0, axis)),
        row_(whole.count() / outer_) {
    for (const Blob* part : parts) parts_.push_back(format(*part));
  }

  const Desc& whole() const { return whole_; }
  const Desc& part(size_t index) const { return parts_[index]; }

  // Copies part `index`, which begins `offset` elements into each row, from or to the whole.
  void extract(const float* whole, float* part, size_t index, int64_t offset) const {
    const int64_t n = width(index), row = row_;
    for_each_heavy(outer_, [=](int64_t o) { copy(whole + o * row + offset, n, part + o * n); });
  }
  void insert(const float* part, float* whole, size_t index, int64_t offset) const {
    const int64_t n = width(index), row = row_;
    for_each_heavy(outer_, [=](int64_t o) { copy(part + o * n, n, whole + o * row + offset); });
  }
  // Elements of a part in a row of the whole.
  int64_t width(size_t index) const { return elements(parts_[index]) / outer_; }

 private:
  using Tag = dnnl::memory::format_tag;

  static void copy(const float* from, int64_t n, float* to) { std::copy_n(from, n, to); }

  static Desc tagged(const Blob& blob, Tag tag) {
    return Desc(dims_of(blob.shape()), dnnl::memory::data_type::f32, tag);
  }

  Desc format(const Blob& blob) const {
    return tag_ == Tag::undef ? row_major({blob.count()}) : tagged(blob, tag_);
  }

  static Tag common_tag(const Blobs& parts, int axis, const Blobs& candidates) {
    if (axis != 1 || parts[0]->shape().axes() != 4) return Tag::undef;
    const auto whole_blocks = [&](int64_t block) {
      return std::all_of(parts.begin(), parts.end(),
                         [=](const Blob* part) { return part->shape()[1] % block == 0; });
    };
    for (const Blob* blob : candidates) {
      const Desc planned = planned_format(blob->data(), dims_of(blob->shape()));
      if (is_row_major(planned)) continue;
      if (planned == tagged(*blob, Tag::nhwc)) return Tag::nhwc;
      if (planned == tagged(*blob, Tag::nChw16c) && whole_blocks(16)) return Tag::nChw16c;
      if (planned == tagged(*blob, Tag::nChw8c) && whole_blocks(8)) return Tag::nChw8c;
    }
    return Tag::undef;
  }

  Tag tag_;
  Desc whole_;
  std::vector<Desc> parts_;
  int64_t outer_;
  int64_t row_;
};

}  // namespace caffe::onednn
