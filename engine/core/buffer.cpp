#include "core/buffer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/memory.h"

namespace caffe {
namespace {
constexpr size_t kAlignment = 64;
constexpr size_t kLargeBytes = size_t{256} << 20;
}  // namespace

Storage::Storage(size_t bytes) : bytes_(bytes) {
  if (bytes >= kLargeBytes) require_memory(static_cast<int64_t>(bytes), "a blob");
  const size_t rounded = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  data_ = std::aligned_alloc(kAlignment, rounded);
  CAFFE_REQUIRE_CODE(data_ != nullptr, ErrorCode::kInternal, "out of memory: ", bytes,
                     " bytes for a blob; use a smaller batch size");
}

Storage::~Storage() { std::free(data_); }

void Buffer::resize(int64_t count) {
  CAFFE_REQUIRE(count >= 0, "a blob cannot have ", count, " elements");
  if (count == count_) return;
  count_ = count;
  slots_.resize(1);
  Slot& plain = slots_[0];
  plain.valid = false;
  zero_ = true;
  if (!plain.storage || plain.storage->bytes() < bytes_needed(plain) || pinned()) {
    plain.storage.reset();  // a pin keeps the old memory for its holder
    plain.data = nullptr;
    pin_.reset();
  }
}

int Buffer::representation(const LayoutPtr& layout) {
  if (!layout) return 0;
  for (size_t i = 1; i < slots_.size(); ++i) {
    if (slots_[i].layout == layout || slots_[i].layout->same(*layout)) return static_cast<int>(i);
  }
  Slot slot;
  slot.layout = layout;
  slots_.push_back(std::move(slot));
  return static_cast<int>(slots_.size() - 1);
}

void Buffer::forget_layouts() {
  if (slots_.size() == 1) return;
  if (!zero_) refresh(slots_[0]);
  slots_.resize(1);
}

int Buffer::current() const {
  for (size_t i = 1; i < slots_.size(); ++i) {
    if (slots_[i].valid) return static_cast<int>(i);
  }
  return 0;
}

const void* Buffer::read(int index) {
  Slot& slot = slots_[static_cast<size_t>(index)];
  if (!slot.valid) [[unlikely]] {
    refresh(slot);
  }
  return slot.data;
}

void* Buffer::write(int index) {
  Slot& slot = slots_[static_cast<size_t>(index)];
  if (slot.data == nullptr) [[unlikely]] {
    allocate(slot);
  }
  invalidate_others(index);
  return slot.data;
}

void* Buffer::update(int index) {
  read(index);
  invalidate_others(index);
  return slots_[static_cast<size_t>(index)].data;
}

void Buffer::invalidate_others(int index) {
  for (Slot& slot : slots_) slot.valid = false;
  slots_[static_cast<size_t>(index)].valid = true;
  zero_ = false;
  ++version_;
}

void Buffer::set_zero() {
  for (Slot& slot : slots_) slot.valid = false;
  zero_ = true;
  ++version_;
  if (pinned()) update(0);  // who holds a view sees it, and begin_pass takes what the view shows
}

void Buffer::bind(int index, void* memory) {
  Slot& slot = slots_[static_cast<size_t>(index)];
  CAFFE_REQUIRE_CODE(index != 0 || !pinned(), ErrorCode::kInternal, "a pinned buffer cannot move");
  if (slot.valid) std::memcpy(memory, slot.data, bytes_needed(slot));
  slot.storage.reset();
  slot.data = memory;
}

bool Buffer::movable(int index) const {
  const Slot& slot = slots_[static_cast<size_t>(index)];
  return !pinned() && (slot.storage != nullptr || slot.data == nullptr);
}

void Buffer::exchange(int index, std::shared_ptr<Storage>* storage) {
  Slot& slot = slots_[static_cast<size_t>(index)];
  CAFFE_REQUIRE_CODE(movable(index) && (*storage)->bytes() >= bytes_needed(slot),
                     ErrorCode::kInternal, "a buffer cannot have memory of another size");
  slot.storage.swap(*storage);
  slot.data = slot.storage->data();
  invalidate_others(index);
}

void Buffer::take(int index, Buffer* other, int other_index) {
  const void* source = other->read(other_index);
  void* destination = write(index);
  Slot& theirs = other->slots_[static_cast<size_t>(other_index)];
  if (movable(index) && other->movable(other_index)) {
    exchange(index, &theirs.storage);
    theirs.data = theirs.storage->data();
  } else {
    std::memcpy(destination, source, bytes_needed(slots_[static_cast<size_t>(index)]));
  }
  other->invalidate_others(other_index);
}

std::shared_ptr<Buffer::Pin> Buffer::pin() {
  update(0);
  std::shared_ptr<Pin> pin = pin_.lock();
  if (!pin) {
    Slot& plain = slots_[0];
    if (!plain.storage) {  // bound to an arena: views need memory of their own
      const void* content = plain.data;
      allocate(plain);
      std::memcpy(plain.data, content, bytes_needed(plain));
    }
    pin = std::make_shared<Pin>(Pin{plain.storage});
    pin_ = pin;
  }
  return pin;
}

void Buffer::begin_pass() {
  if (pinned()) invalidate_others(0);
}

void Buffer::end_pass() {
  if (pinned()) update(0);
}

size_t Buffer::bytes() const {
  size_t total = 0;
  for (const Slot& slot : slots_) total += slot.data ? bytes_needed(slot) : 0;
  return total;
}

size_t Buffer::bytes_needed(const Slot& slot) const {
  return slot.layout ? slot.layout->bytes() : static_cast<size_t>(count_) * size_of(type_);
}

void Buffer::allocate(Slot& slot) {
  slot.storage = std::make_shared<Storage>(bytes_needed(slot));
  slot.data = slot.storage->data();
}

void Buffer::refresh(Slot& slot) {
  if (slot.valid) return;
  if (slot.data == nullptr) allocate(slot);
  if (zero_) {
    std::memset(slot.data, 0, bytes_needed(slot));
    slot.valid = true;
    return;
  }
  for (const Slot& other : slots_) {
    if (!other.valid || !other.layout || !slot.layout) continue;
    if (slot.layout->convert_from(*other.layout, other.data, slot.data)) {
      slot.valid = true;
      return;
    }
  }
  Slot& plain = slots_[0];
  if (!plain.valid) {
    const auto source =
        std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.valid; });
    CAFFE_REQUIRE_CODE(source != slots_.end(), ErrorCode::kInternal, "a buffer of ", count_,
                       " elements has no valid content");
    if (plain.data == nullptr) allocate(plain);
    source->layout->to_plain(source->data, plain.data);
    plain.valid = true;
  }
  if (slot.layout) slot.layout->from_plain(plain.data, slot.data);
  slot.valid = true;
}

}  // namespace caffe
