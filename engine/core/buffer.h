#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"

namespace caffe {

// Element type of a plain array. Nets compute in float32; float64 is for gradient checks of
// portable code.
enum class DType { kF32, kF64 };
inline size_t size_of(DType type) { return type == DType::kF32 ? 4 : 8; }
template <typename T>
constexpr DType dtype_of() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
  return std::is_same_v<T, float> ? DType::kF32 : DType::kF64;
}

// How the numbers of an array lie in memory where that is not plain row-major: blocked, transposed,
// another precision. Made by a backend; opaque to everybody else. Conversions are exact but for
// precision.
class Layout {
 public:
  virtual ~Layout() = default;
  virtual size_t bytes() const = 0;
  virtual std::string name() const = 0;  // as the plan prints it: "aBcd16b"
  virtual bool same(const Layout& other) const = 0;
  // Whether it holds the numbers as they are; else rounded, as all that round do.
  virtual bool exact() const { return true; }
  virtual void to_plain(const void* source, void* plain) const = 0;
  virtual void from_plain(const void* plain, void* destination) const = 0;
  // Converts from another layout without the detour over plain; false where that is not possible.
  virtual bool convert_from(const Layout& other, const void* source, void* destination) const {
    (void)other, (void)source, (void)destination;
    return false;
  }
};
using LayoutPtr = std::shared_ptr<const Layout>;  // null: plain row-major

// Aligned memory that knows its size. Shared by whoever still looks at it.
class Storage {
 public:
  explicit Storage(size_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_;
  size_t bytes_;
};

// An array of numbers that may be held in several layouts ("representations") at once, and knows
// which of them are up to date. Representation 0 is plain row-major; others are added while a net
// is planned and addressed by index, so that a training step does no look-ups. Reading a stale
// representation converts it, from one that is exact if there is such, or rounded as it is itself.
// A fresh buffer is zero.
//
// A view handed out to foreign code (numpy) pins the buffer: while any pin lives, plain is the
// authority. A net calls begin_pass and end_pass around its work, which takes over what the holder
// wrote, and shows what the pass wrote.
//
// Not thread-safe.
class Buffer {
 public:
  explicit Buffer(DType type = DType::kF32) : type_(type) { slots_.resize(1); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  DType dtype() const { return type_; }
  int64_t count() const { return count_; }

  // Changes the number of elements. The same number: nothing happens. Another: content is
  // undefined, all layouts but plain are forgotten; memory is kept while it suffices.
  void resize(int64_t count);

  // Index of the representation with this layout; added if it is new.
  int representation(const LayoutPtr& layout);
  int representations() const { return static_cast<int>(slots_.size()); }
  const LayoutPtr& layout(int index) const { return slots_[static_cast<size_t>(index)].layout; }
  // Forgets all layouts but plain, after converting to it. For re-planning.
  void forget_layouts();
  // The representation that can be read without a conversion; a blocked one before plain.
  int current() const;

  // The representation that the net's plan wants first; plain if it wants none.
  int preferred() const { return slots_.size() > 1 ? 1 : 0; }
  // The first that the plan wants and that rounds nothing; plain if there is none. In it lie
  // weights that are learned.
  int master() const;

  const void* read(int index = 0);  // up-to-date content
  void* write(
      int index = 0);  // for overwriting all of it: every other representation becomes stale
  void* update(int index = 0);  // read, then as write

  // Another number each time the content may have changed. While a pin lives, that is every pass.
  uint64_t version() const { return version_; }

  // Content becomes zero, without touching memory until somebody reads it.
  void set_zero();
  bool is_zero() const { return zero_; }

  // Makes a representation live in foreign memory (an arena), which must outlive the buffer or the
  // next bind, release or settle; with a lender the buffer sees to that.
  void bind(int index, void* memory, std::shared_ptr<const void> lender = nullptr);
  // Gives foreign memory back, with what is in it: until something is written, the representation
  // has no content. Nothing happens where the memory is the buffer's own. Returns what it was.
  void* release(int index);
  bool lent(int index) const {
    const Slot& slot = slots_[static_cast<size_t>(index)];
    return slot.data != nullptr && !slot.storage;
  }
  // Moves out of foreign memory into the buffer's own.
  void settle(int index);

  // Takes over the content of another buffer of the same number of bytes; what that one holds
  // afterwards is undefined. Where both own their memory, and nobody holds a view, they exchange
  // it, so what works in place keeps its input without a copy. With `exchanges_lent` so they do
  // where both have foreign memory, whose lender knows; if that cannot be, this buffer gets memory
  // of its own. Else the content is copied.
  void take(int index, Buffer* other, int other_index, bool exchanges_lent = false);
  // Whether both representations lie in the same place: one got the other's memory when the net was
  // planned.
  bool lies_with(int index, const Buffer& other, int other_index) const;

  // A pin, and the plain memory it guards, which stays valid as long as the pin lives.
  struct Pin {
    std::shared_ptr<Storage> storage;
  };
  std::shared_ptr<Pin> pin();
  bool pinned() const { return !pin_.expired(); }
  void begin_pass();
  void end_pass();

  // Gives up the buffer's own memory of representations that are out of date: after a net has begun
  // to use another than the one in which the content came. Views keep theirs.
  void trim();
  // Memory held, in bytes, over all representations.
  size_t bytes() const;
  // What one representation takes, in bytes.
  size_t bytes(int index) const { return bytes_needed(slots_[static_cast<size_t>(index)]); }

 private:
  struct Slot {
    LayoutPtr layout;
    std::shared_ptr<Storage> storage;
    std::shared_ptr<const void> lender;  // of foreign memory
    void* data = nullptr;
    bool valid = false;
  };
  bool holds_content() const;
  size_t bytes_needed(const Slot& slot) const;
  void allocate(Slot& slot);
  void refresh(Slot& slot);
  bool refresh_directly(Slot& slot, bool exact) const;
  const Slot& source_of_plain() const;
  void invalidate_others(int index);

  DType type_;
  int64_t count_ = 0;
  bool zero_ = true;
  uint64_t version_ = 0;
  std::vector<Slot> slots_;
  std::weak_ptr<Pin> pin_;
};

}  // namespace caffe
