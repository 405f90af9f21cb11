#include "core/buffer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "core/memory.h"
#include "core/pages.h"

namespace caffe {
namespace {
constexpr size_t kAlignment = 64;
constexpr size_t kLargeBytes = size_t{256} << 20;
constexpr size_t kPagedBytes = 2 * kLargePage;
}  // namespace

Storage::Storage(size_t bytes) : bytes_(bytes) {
  if (bytes >= kLargeBytes) require_memory(static_cast<int64_t>(bytes), "a blob");
  data_ = bytes >= kPagedBytes
              ? map_pages(bytes)
              : std::aligned_alloc(kAlignment, round_up(std::max<size_t>(bytes, 1), kAlignment));
  CAFFE_REQUIRE_CODE(data_ != nullptr, ErrorCode::kInternal, "out of memory: ", bytes,
                     " bytes for a blob; use a smaller batch size");
}

Storage::~Storage() {
  if (bytes_ >= kPagedBytes) {
    unmap_pages(data_, bytes_);
  } else {
    std::free(data_);
  }
}

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
    plain.lender.reset();
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
  if (!zero_ && holds_content()) refresh(slots_[0]);
  slots_.resize(1);
}

bool Buffer::holds_content() const {
  return std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.valid; });
}

int Buffer::current() const {
  for (size_t i = 1; i < slots_.size(); ++i) {
    if (slots_[i].valid) return static_cast<int>(i);
  }
  return 0;
}

int Buffer::master() const {
  for (size_t i = 1; i < slots_.size(); ++i) {
    if (slots_[i].layout->exact()) return static_cast<int>(i);
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

void Buffer::bind(int index, void* memory, std::shared_ptr<const void> lender) {
  Slot& slot = slots_[static_cast<size_t>(index)];
  if (slot.data == memory) return;
  CAFFE_REQUIRE_CODE(index != 0 || !pinned(), ErrorCode::kInternal, "a pinned buffer cannot move");
  if (slot.valid) std::memcpy(memory, slot.data, bytes_needed(slot));
  slot.storage.reset();
  slot.data = memory;
  slot.lender = std::move(lender);
}

void* Buffer::release(int index) {
  if (index >= representations()) return nullptr;  // forgotten in a resize
  Slot& slot = slots_[static_cast<size_t>(index)];
  if (slot.storage) return nullptr;
  slot.valid = false;
  slot.lender.reset();
  return std::exchange(slot.data, nullptr);
}

void Buffer::settle(int index) {
  if (index >= representations()) return;
  Slot& slot = slots_[static_cast<size_t>(index)];
  if (slot.storage || slot.data == nullptr) return;
  const bool valid = slot.valid;
  const std::shared_ptr<const void> lender = slot.lender;
  const void* content = release(index);
  if (!valid) return;
  allocate(slot);
  std::memcpy(slot.data, content, bytes_needed(slot));
  slot.valid = true;
}

void Buffer::take(int index, Buffer* other, int other_index, bool exchanges_lent) {
  const void* source = other->read(other_index);
  Slot& mine = slots_[static_cast<size_t>(index)];
  Slot& theirs = other->slots_[static_cast<size_t>(other_index)];
  CAFFE_REQUIRE_CODE(bytes_needed(mine) == other->bytes_needed(theirs), ErrorCode::kInternal,
                     "a buffer cannot have memory of another size");
  if (write(index) == source) return;
  const bool owned = mine.storage && theirs.storage;
  const bool lent = exchanges_lent && !mine.storage && !theirs.storage;
  if ((owned || lent) && !pinned() && !other->pinned()) {
    std::swap(mine.storage, theirs.storage);
    std::swap(mine.data, theirs.data);
    std::swap(mine.lender, theirs.lender);
  } else {
    if (exchanges_lent && !mine.storage) allocate(mine);
    std::memcpy(mine.data, source, bytes_needed(mine));
  }
  other->invalidate_others(other_index);
}

bool Buffer::lies_with(int index, const Buffer& other, int other_index) const {
  const void* data = slots_[static_cast<size_t>(index)].data;
  return data != nullptr && data == other.slots_[static_cast<size_t>(other_index)].data;
}

std::shared_ptr<Buffer::Pin> Buffer::pin() {
  if (!zero_ && !holds_content()) set_zero();
  update(0);
  std::shared_ptr<Pin> pin = pin_.lock();
  if (!pin) {
    Slot& plain = slots_[0];
    if (!plain.storage) {  // bound to an arena: views need memory of their own
      const void* content = plain.data;
      const std::shared_ptr<const void> lender = plain.lender;
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

void Buffer::trim() {
  for (Slot& slot : slots_) {
    if (slot.valid || !slot.storage || (&slot == &slots_[0] && pinned())) continue;
    slot.storage.reset();
    slot.data = nullptr;
  }
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
  slot.lender.reset();
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
  Slot& plain = slots_[0];
  // What is rounded comes from what is already: that is less to read.
  const bool exact = slot.layout && slot.layout->exact();
  slot.valid =
      refresh_directly(slot, exact) || (!(exact && plain.valid) && refresh_directly(slot, !exact));
  if (slot.valid) return;
  if (!plain.valid) {
    const Slot& source = source_of_plain();
    if (plain.data == nullptr) allocate(plain);
    source.layout->to_plain(source.data, plain.data);
    plain.valid = true;
  }
  if (slot.layout) slot.layout->from_plain(plain.data, slot.data);
  slot.valid = true;
}

// Without the detour over plain.
bool Buffer::refresh_directly(Slot& slot, bool exact) const {
  return slot.layout && std::any_of(slots_.begin(), slots_.end(), [&](const Slot& other) {
           return other.valid && other.layout && other.layout->exact() == exact &&
                  slot.layout->convert_from(*other.layout, other.data, slot.data);
         });
}

const Buffer::Slot& Buffer::source_of_plain() const {
  const Slot* source = nullptr;
  for (const Slot& slot : slots_) {
    if (slot.valid && (source == nullptr || (slot.layout->exact() && !source->layout->exact())))
      source = &slot;
  }
  CAFFE_REQUIRE_CODE(source != nullptr, ErrorCode::kInternal, "a buffer of ", count_,
                     " elements is read after its content was given up");
  return *source;
}

}  // namespace caffe
