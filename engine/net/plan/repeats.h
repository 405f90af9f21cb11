#pragma once

#include <cstddef>
#include <set>
#include <vector>

#include "net/plan/plan.h"

namespace caffe {

// For each step of a plan the steps that run forward once more, in this order, before it goes back,
// so that what they computed need not be kept until then. Empty: none.
using Repeats = std::vector<std::vector<size_t>>;

// Finds out where a net can be cut into segments of which only what goes into the next one is kept;
// each but the last runs forward again before it goes back. (Chen et al., Training Deep Nets with
// Sublinear Memory Cost, 2016.)
class Segments {
 public:
  // `kept`: buffers that stay in memory anyway.
  Segments(const std::vector<Plan::Step>& steps, const std::set<const Buffer*>& kept,
           std::vector<bool> repeatable);

  // The most segments that there can be.
  size_t most() const { return cuts_.size() + 1; }
  // With `count` segments that compute about equally much, cut where little goes across; fewer
  // where it cannot be cut so often.
  Repeats repeats(size_t count) const;

 private:
  // `uses`: what each step touches forward.
  void find_cuts(const std::vector<BufferUses>& uses);
  void weigh(const std::vector<BufferUses>& uses, const std::set<const Buffer*>& kept);
  std::vector<size_t> choose(size_t count) const;
  bool can_repeat(size_t first, size_t end) const;

  std::vector<bool> repeatable_;  // by step, as the next two
  std::vector<bool> goes_back_;
  std::vector<bool> changes_;     // the step works in place
  std::vector<size_t> cuts_;      // before these steps, rising
  std::vector<double> work_;      // bytes that the steps before this one write
  std::vector<size_t> crossing_;  // bytes that go across a cut before this step
};

}  // namespace caffe
