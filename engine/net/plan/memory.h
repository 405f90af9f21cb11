#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "core/arena.h"
#include "net/plan/plan.h"
#include "net/plan/repeats.h"

namespace caffe {

// Which arrays of a net lie where, and when. A pass forward and one backward are a line of moments:
// a moment for each step of the plan on the way up, another on the way down, and before that one
// for each step that runs forward again. What nobody looks at beside the layers has its memory from
// the moment that writes it to the one that uses it last, in one arena, and shares it with what is
// needed at other times.
//
// A representation that has been given back has no content: reading it is an error that says so,
// and writing it where the plan did not expect that takes memory of the buffer's own. So a layer
// that uses more than it told costs memory or fails, but never reads what another left. With
// CAFFE_POISON_MEMORY set in the environment, memory is filled with NaN as soon as it is given
// back, which shows addresses that are used for too long.
class MemoryPlan {
 public:
  // `kept`: buffers that stay where they are. `arena` may be shared with other nets.
  MemoryPlan(const std::vector<Plan::Step>& steps, const std::set<const Buffer*>& kept,
             bool backward, std::shared_ptr<Arena> arena, Repeats repeats = {});
  ~MemoryPlan();
  MemoryPlan(const MemoryPlan&) = delete;
  MemoryPlan& operator=(const MemoryPlan&) = delete;

  // Before the first step of a pass forward: nothing has content.
  void start();
  // Whether what start() began is still there: no other net used the arena.
  bool holds() const { return started_ && arena_->user() == this; }
  // After the last step of a pass backward.
  void finish() { started_ = false; }
  // Around step `index`, forward or backward.
  void before(size_t index, bool backward) { enter(moment(index, backward)); }
  void after(size_t index, bool backward) { leave(moment(index, backward)); }
  // The steps that run forward again before step `index` goes back; around number `i` of them.
  const std::vector<size_t>& repeats(size_t index) const { return repeats_[index]; }
  void before_again(size_t index, size_t i) { enter(again_moment(index, i)); }
  void after_again(size_t index, size_t i) { leave(again_moment(index, i)); }
  // Everything that has content moves to memory of its own. The plan must not be used any more.
  void settle();

  // Of the arena; of all arrays in it, if each had its own memory; the most that is needed at one
  // moment, which no arena can be smaller than.
  size_t bytes() const { return bytes_; }
  size_t bytes_apart() const { return bytes_apart_; }
  size_t bytes_at_once() const { return bytes_at_once_; }
  // How many steps run forward again.
  size_t repeated() const;

 private:
  static constexpr size_t kNone = SIZE_MAX;
  using Place = std::pair<Buffer*, int>;  // buffer, representation
  // One piece of memory in the arena, for moments first..last.
  struct Block {
    size_t bytes;
    size_t first, last;
    size_t offset = 0;
    size_t merged = kNone;  // into this block
  };
  // A representation's stay in a block.
  struct Stay {
    Place place;
    size_t block;
    size_t first, last;
    size_t bound_to;       // the block that it gets at its beginning; kNone: none
    bool released = true;  // at its end; else it goes on in another block, after an exchange
  };
  struct Known {  // about a representation, while the moments are walked
    size_t stay = kNone;
    bool possible = false;  // it may have content
    bool certain = false;   // it has
  };
  struct Event {
    Buffer* buffer;
    int representation;
    size_t offset;
    size_t poison;  // bytes; 0 where the memory is still in use
  };

  size_t moment(size_t index, bool backward) const {
    return backward ? backward_moments_[index] : index;
  }
  size_t again_moment(size_t index, size_t i) const {
    return backward_moments_[index] - repeats_[index].size() + i;
  }
  void enter(size_t moment);
  void leave(size_t moment);
  void walk(size_t moment, const BufferUses& uses, const std::set<const Buffer*>& kept);
  void use(size_t moment, const BufferUse& use);
  void take(size_t moment, const BufferUse& use);
  void touch(size_t moment, const Place& place);
  void touch_possible(size_t moment, Buffer* buffer);
  void write(size_t moment, const Place& place);
  size_t add_stay(size_t moment, const Place& place);
  size_t root(size_t block) const;
  void extend_blocks();
  void merge();
  void place_blocks();
  size_t gap_for(const Block& block, std::vector<const Block*> neighbours) const;
  void measure();
  void schedule();
  bool in_use_after(const Stay& stay) const;

  Repeats repeats_;
  std::vector<size_t> backward_moments_;  // by step
  size_t moments_;
  std::shared_ptr<Arena> arena_;
  bool poison_;
  bool started_ = false;
  std::map<Buffer*, std::map<int, Known>> known_;
  std::vector<Stay> stays_;
  std::vector<Block> blocks_;
  struct Heir {
    size_t moment;
    Place place, other;
  };
  std::vector<Heir> heirs_;
  size_t bytes_ = 0, bytes_apart_ = 0, bytes_at_once_ = 0;
  std::byte* base_ = nullptr;
  std::vector<std::vector<Event>> before_, after_;  // by moment
  std::vector<Place> places_;                       // each once
};

}  // namespace caffe
