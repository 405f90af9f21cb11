#include "net/plan/memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "core/memory.h"
#include "core/pages.h"
#include "kernels/for_each.h"

namespace caffe {
namespace {

constexpr size_t kAlignment = 64;
constexpr int kPoison = 0xff;  // NaN in every precision

// The memory of an arena, on all threads. A small one does not begin at a page.
void take_all(std::byte* memory, size_t bytes) {
  constexpr size_t kPiece = 32 * kLargePage;
  if (bytes < kPiece) return;
  for_each_heavy(static_cast<int64_t>((bytes + kPiece - 1) / kPiece), [=](int64_t i) {
    const size_t begin = static_cast<size_t>(i) * kPiece;
    take_pages(memory + begin, std::min(kPiece, bytes - begin));
  });
}

}  // namespace

MemoryPlan::MemoryPlan(const std::vector<Plan::Step>& steps, const std::set<const Buffer*>& kept,
                       bool backward, std::shared_ptr<Arena> arena, Repeats repeats)
    : repeats_(std::move(repeats)),
      backward_moments_(steps.size()),
      moments_(steps.size()),
      arena_(std::move(arena)),
      poison_(std::getenv("CAFFE_POISON_MEMORY") != nullptr) {
  for (size_t i = 0; i < steps.size(); ++i)
    walk(moment(i, false), steps[i].implementation->forward_uses(), kept);
  repeats_.resize(steps.size());
  for (size_t i = steps.size(); i-- > 0;) {
    moments_ += repeats_[i].size();
    backward_moments_[i] = moments_++;
  }
  for (size_t i = steps.size(); backward && i-- > 0;) {
    for (size_t j = 0; j < repeats_[i].size(); ++j)
      walk(again_moment(i, j), steps[repeats_[i][j]].implementation->forward_uses(), kept);
    if (steps[i].backward) walk(moment(i, true), steps[i].implementation->backward_uses(), kept);
  }
  extend_blocks();
  merge();
  place_blocks();
  schedule();
}

MemoryPlan::~MemoryPlan() {
  for (const auto& [buffer, representation] : places_) buffer->release(representation);
}

// ---- who needs what when ----

void MemoryPlan::walk(size_t moment, const BufferUses& uses, const std::set<const Buffer*>& kept) {
  for (const BufferUse& each : uses) {
    if (kept.count(each.buffer) > 0) continue;
    if (each.takes && kept.count(each.other) == 0) {
      take(moment, each);
      continue;
    }
    use(moment, each);
    if (each.other != nullptr && kept.count(each.other) == 0) {
      heirs_.push_back(
          {moment, {each.buffer, each.representation}, {each.other, each.other_representation}});
    }
  }
}

// Reading a representation without content converts another; where it is not sure which have
// content, all that may have are needed.
void MemoryPlan::use(size_t moment, const BufferUse& use) {
  const Place place{use.buffer, use.representation};
  if (use.access == Access::kWrite) return write(moment, place);
  std::map<int, Known>& all = known_[use.buffer];
  const bool certain = all[use.representation].certain;
  if (!certain || use.access == Access::kUnknown) touch_possible(moment, use.buffer);
  touch(moment, place);
  if (use.access == Access::kUnknown) {
    for (auto& [index, known] : all) known.certain = false;
    return;
  }
  if (use.access == Access::kUpdate) {
    for (auto& [index, known] : all) known.possible = known.certain = false;
  }
  all[use.representation].possible = all[use.representation].certain = true;
}

void MemoryPlan::touch(size_t moment, const Place& place) {
  Known& known = known_[place.first][place.second];
  const bool goes_on = known.stay != kNone && (known.possible || stays_[known.stay].last == moment);
  if (!goes_on) known.stay = add_stay(moment, place);
  stays_[known.stay].last = moment;
  known.possible = true;
}

void MemoryPlan::touch_possible(size_t moment, Buffer* buffer) {
  for (auto& [index, known] : known_[buffer]) {
    if (known.possible) stays_[known.stay].last = moment;
  }
}

void MemoryPlan::write(size_t moment, const Place& place) {
  std::map<int, Known>& all = known_[place.first];
  Known& known = all[place.second];
  // Content that the same step has just used stays where it is.
  const bool goes_on = known.stay != kNone && stays_[known.stay].last == moment;
  if (!goes_on) known.stay = add_stay(moment, place);
  for (auto& [index, other] : all) other.possible = other.certain = false;
  known.possible = known.certain = true;
}

// From then on the taker is where the giver was, and the giver in a new block. Memory is exchanged
// while the step runs, so it is the taker that gets the new block beforehand.
void MemoryPlan::take(size_t moment, const BufferUse& use) {
  const Place taker{use.buffer, use.representation}, giver{use.other, use.other_representation};
  touch(moment, giver);
  const size_t old = known_[giver.first][giver.second].stay;
  const size_t kept = add_stay(moment, taker), fresh = add_stay(moment, giver);
  stays_[kept].bound_to = stays_[fresh].block;
  stays_[kept].block = stays_[old].block;
  stays_[fresh].bound_to = kNone;
  stays_[old].released = false;
  for (const auto& [place, stay] : {std::pair(taker, kept), std::pair(giver, fresh)}) {
    std::map<int, Known>& all = known_[place.first];
    for (auto& [index, known] : all) known.possible = known.certain = false;
    all[place.second] = {stay, true, true};
  }
}

size_t MemoryPlan::add_stay(size_t moment, const Place& place) {
  const size_t block = blocks_.size();
  blocks_.push_back({round_up(place.first->bytes(place.second), kAlignment), moment, moment});
  stays_.push_back({place, block, moment, moment, block});
  return stays_.size() - 1;
}

// ---- which blocks share memory ----

size_t MemoryPlan::root(size_t block) const {
  while (blocks_[block].merged != kNone) block = blocks_[block].merged;
  return block;
}

void MemoryPlan::extend_blocks() {
  for (const Stay& stay : stays_) {
    Block& block = blocks_[stay.block];
    block.first = std::min(block.first, stay.first);
    block.last = std::max(block.last, stay.last);
  }
}

// An heir gets the block of what is needed last when the heir is needed first.
void MemoryPlan::merge() {
  const auto find = [&](const Place& place, size_t moment, bool begins) {
    return std::find_if(stays_.begin(), stays_.end(), [&](const Stay& stay) {
      return stay.place == place && stay.bound_to == stay.block && stay.released &&
             (begins ? stay.first : stay.last) == moment;
    });
  };
  for (const Heir& heir : heirs_) {
    const auto to = find(heir.place, heir.moment, true);
    const auto from = find(heir.other, heir.moment, false);
    if (to == stays_.end() || from == stays_.end()) continue;
    if (blocks_[to->block].merged != kNone) continue;  // it has the place of another
    const size_t taken = root(to->block), given = root(from->block);
    Block& block = blocks_[given];
    if (taken == given || block.last != heir.moment || block.bytes != blocks_[taken].bytes ||
        blocks_[taken].first != heir.moment)
      continue;
    block.last = blocks_[taken].last;
    blocks_[taken].merged = given;
  }
}

// The largest first, each into the smallest gap between those that are needed at the same time.
void MemoryPlan::place_blocks() {
  std::vector<size_t> order;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (blocks_[i].merged == kNone) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return blocks_[a].bytes > blocks_[b].bytes; });
  std::vector<const Block*> placed;
  for (const size_t index : order) {
    Block& block = blocks_[index];
    std::vector<const Block*> neighbours;
    for (const Block* other : placed) {
      if (other->first <= block.last && block.first <= other->last) neighbours.push_back(other);
    }
    block.offset = gap_for(block, std::move(neighbours));
    placed.push_back(&block);
    bytes_ = std::max(bytes_, block.offset + block.bytes);
  }
  measure();
}

size_t MemoryPlan::gap_for(const Block& block, std::vector<const Block*> neighbours) const {
  std::sort(neighbours.begin(), neighbours.end(),
            [](const Block* a, const Block* b) { return a->offset < b->offset; });
  size_t end = 0, best = kNone, smallest = kNone;
  for (const Block* other : neighbours) {
    if (other->offset >= end + block.bytes && other->offset - end < smallest) {
      smallest = other->offset - end;
      best = end;
    }
    end = std::max(end, other->offset + other->bytes);
  }
  return best == kNone ? end : best;
}

size_t MemoryPlan::repeated() const {
  size_t count = 0;
  for (const auto& steps : repeats_) count += steps.size();
  return count;
}

void MemoryPlan::measure() {
  std::set<Place> seen;
  for (const Stay& stay : stays_) {
    if (seen.insert(stay.place).second) bytes_apart_ += stay.place.first->bytes(stay.place.second);
  }
  for (size_t moment = 0; moment < moments_; ++moment) {
    size_t sum = 0;
    for (const Block& block : blocks_) {
      const bool needed = block.merged == kNone && block.first <= moment && moment <= block.last;
      sum += needed ? block.bytes : 0;
    }
    bytes_at_once_ = std::max(bytes_at_once_, sum);
  }
}

// ---- a pass ----

// Whether the memory that a stay leaves is another's at that moment.
bool MemoryPlan::in_use_after(const Stay& stay) const {
  return std::any_of(stays_.begin(), stays_.end(), [&](const Stay& other) {
    return &other != &stay && root(other.block) == root(stay.block) && other.first <= stay.last &&
           other.last >= stay.last;
  });
}

void MemoryPlan::schedule() {
  before_.resize(moments_);
  after_.resize(moments_);
  std::set<Place> places;
  for (const Stay& stay : stays_) {
    const auto& [buffer, representation] = stay.place;
    places.insert(stay.place);
    const size_t bytes = buffer->bytes(representation);
    if (stay.bound_to != kNone) {
      before_[stay.first].push_back(
          {buffer, representation, blocks_[root(stay.bound_to)].offset, 0});
    }
    if (stay.released) {
      after_[stay.last].push_back(
          {buffer, representation, 0, poison_ && !in_use_after(stay) ? bytes : 0});
    }
  }
  places_.assign(places.begin(), places.end());
}

void MemoryPlan::start() {
  for (const auto& [buffer, representation] : places_) buffer->release(representation);
  const size_t before = arena_->bytes();
  base_ = static_cast<std::byte*>(arena_->reserve(bytes_, this));
  if (arena_->bytes() != before) take_all(base_, bytes_);
  if (poison_) std::memset(base_, kPoison, bytes_);
  started_ = true;
}

void MemoryPlan::enter(size_t moment) {
  for (const Event& event : before_[moment]) {
    if (event.representation == 0 && event.buffer->pinned()) continue;
    event.buffer->bind(event.representation, base_ + event.offset);
  }
}

void MemoryPlan::leave(size_t moment) {
  for (const Event& event : after_[moment]) {
    void* memory = event.buffer->release(event.representation);
    if (event.poison > 0 && memory != nullptr) std::memset(memory, kPoison, event.poison);
  }
}

void MemoryPlan::settle() {
  for (const auto& [buffer, representation] : places_) buffer->settle(representation);
  places_.clear();
}

}  // namespace caffe
