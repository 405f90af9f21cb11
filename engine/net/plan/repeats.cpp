#include "net/plan/repeats.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace caffe {
namespace {

// What a step changes that others have written: in place, or by taking its content away. Portable
// code does not say what it does to a blob; it changes those that are both bottom and top.
std::set<const Buffer*> changed_by(const BufferUses& uses) {
  std::set<const Buffer*> changed, unknown;
  for (const BufferUse& use : uses) {
    if (use.access == Access::kUpdate) changed.insert(use.buffer);
    if (use.takes) changed.insert(use.other);
    if (use.access == Access::kUnknown && !unknown.insert(use.buffer).second)
      changed.insert(use.buffer);
  }
  return changed;
}

}  // namespace

Segments::Segments(const std::vector<Plan::Step>& steps, const std::set<const Buffer*>& kept,
                   std::vector<bool> repeatable)
    : repeatable_(std::move(repeatable)) {
  std::vector<BufferUses> uses;
  for (const Plan::Step& step : steps) {
    uses.push_back(step.implementation->forward_uses());
    goes_back_.push_back(step.backward);
  }
  find_cuts(uses);
  weigh(uses, kept);
}

// Not between a step that writes something and one that changes it: the segment after the cut could
// not run again.
void Segments::find_cuts(const std::vector<BufferUses>& uses) {
  std::map<const Buffer*, size_t> written;
  std::vector<bool> possible(uses.size(), true);
  for (size_t i = 0; i < uses.size(); ++i) {
    const std::set<const Buffer*> changed = changed_by(uses[i]);
    changes_.push_back(!changed.empty());
    for (const Buffer* buffer : changed) {
      const auto it = written.find(buffer);
      const size_t first = it == written.end() ? 0 : it->second;
      std::fill(possible.begin() + static_cast<std::ptrdiff_t>(first) + 1,
                possible.begin() + static_cast<std::ptrdiff_t>(i) + 1, false);
    }
    for (const BufferUse& use : uses[i]) {
      if (use.access == Access::kWrite || use.takes) written.emplace(use.buffer, i);
    }
  }
  for (size_t i = 1; i < uses.size(); ++i) {
    if (possible[i]) cuts_.push_back(i);
  }
}

void Segments::weigh(const std::vector<BufferUses>& uses, const std::set<const Buffer*>& kept) {
  struct Life {
    size_t first, last, bytes;
  };
  std::map<const Buffer*, Life> lives;
  work_.assign(1, 0);
  for (size_t i = 0; i < uses.size(); ++i) {
    double written = 0;
    for (const BufferUse& use : uses[i]) {
      const size_t bytes = use.buffer->bytes(use.representation);
      if (use.access == Access::kWrite) written += static_cast<double>(bytes);
      if (kept.count(use.buffer) > 0) continue;
      lives.emplace(use.buffer, Life{i, i, bytes}).first->second.last = i;
    }
    work_.push_back(work_.back() + written);
  }
  crossing_.assign(uses.size(), 0);
  for (const auto& [buffer, life] : lives) {
    for (size_t i = life.first + 1; i <= life.last; ++i) crossing_[i] += life.bytes;
  }
}

std::vector<size_t> Segments::choose(size_t count) const {
  std::vector<size_t> chosen;
  const double part = work_.back() / static_cast<double>(count);
  for (size_t i = 1; i < count; ++i) {
    const double target = part * static_cast<double>(i);
    size_t best = SIZE_MAX;
    for (const size_t cut : cuts_) {
      if (std::abs(work_[cut] - target) > part / 2) continue;
      if (!chosen.empty() && cut <= chosen.back()) continue;
      if (best == SIZE_MAX || crossing_[cut] < crossing_[best]) best = cut;
    }
    if (best != SIZE_MAX) chosen.push_back(best);
  }
  return chosen;
}

// What cannot run again keeps what it computed. It must not have changed what others did.
bool Segments::can_repeat(size_t first, size_t end) const {
  for (size_t i = first; i < end; ++i) {
    if (!repeatable_[i] && changes_[i]) return false;
  }
  return true;
}

Repeats Segments::repeats(size_t count) const {
  Repeats result(repeatable_.size());
  size_t first = 0;
  for (const size_t end : choose(count)) {
    size_t last = end;
    while (last > first && !goes_back_[last - 1]) --last;
    if (last > first && can_repeat(first, end)) {
      for (size_t i = first; i < end; ++i) {
        if (repeatable_[i]) result[last - 1].push_back(i);
      }
    }
    first = end;
  }
  return result;
}

}  // namespace caffe
