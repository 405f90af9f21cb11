#include "collective/shared_rings.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace caffe {
namespace {

// Large enough that both sides work at the same time, small enough for the caches.
constexpr uint64_t kRing = 512 * 1024;
// What one call moves at most, so that the other side can begin meanwhile.
constexpr uint64_t kTurn = kRing / 2;
constexpr size_t kCacheLine = 64;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

// Counters only grow; a position in the ring is one of them modulo its size. Each has one writer,
// and a line of its own.
struct SharedRings::Ring {
  alignas(kCacheLine) std::atomic<uint64_t> written;
  alignas(kCacheLine) std::atomic<uint64_t> read;
  alignas(kCacheLine) std::atomic<uint32_t> writer_rests;
  alignas(kCacheLine) std::atomic<uint32_t> reader_rests;
  alignas(kCacheLine) std::array<char, kRing> bytes;
};

struct SharedRings::Shared {
  std::array<Ring, 2> rings;
};

void SharedRings::Unmap::operator()(Shared* shared) const { munmap(shared, sizeof(Shared)); }

Descriptor SharedRings::create() {
  static_assert(std::atomic<uint64_t>::is_always_lock_free);
  Descriptor memory(memfd_create("caffe-rings", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  // Pages come with their first use: of many ranks on a host few pairs ever talk.
  const bool ready = memory && ftruncate(memory.get(), sizeof(Shared)) == 0 &&
                     fcntl(memory.get(), F_ADD_SEALS, kSeals) == 0;
  return ready ? std::move(memory) : Descriptor();
}

SharedRings::SharedRings(const Descriptor& memory, int side) {
  struct stat status {};
  const bool sealed = (fcntl(memory.get(), F_GET_SEALS) & kSeals) == kSeals;
  CAFFE_REQUIRE_CODE(sealed && fstat(memory.get(), &status) == 0 &&
                         static_cast<uint64_t>(status.st_size) == sizeof(Shared),
                     ErrorCode::kCommunication,
                     "what a peer offers as shared memory is something else");
  void* mapped = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  CAFFE_REQUIRE_CODE(mapped != MAP_FAILED, ErrorCode::kCommunication,
                     "shared memory cannot be mapped: ", errno_text(errno));
  // A fresh file is zero, which is the state of empty rings.
  shared_.reset(static_cast<Shared*>(mapped));
  outgoing_ = &shared_->rings[static_cast<size_t>(side)];
  incoming_ = &shared_->rings[static_cast<size_t>(1 - side)];
}

uint64_t SharedRings::used(const Ring& ring) {
  const uint64_t used = ring.written.load() - ring.read.load();
  CAFFE_REQUIRE_CODE(used <= kRing, ErrorCode::kCommunication,
                     "the memory that a peer shares is damaged");
  return used;
}

// copy(in the ring, in a part, bytes) for what lies between `counter`, which goes along, and
// `limit` bytes behind it. `rests`: whether the other side waits for this counter.
template <typename Copy>
SharedRings::Moved SharedRings::move(Ring& ring, std::atomic<uint64_t>& counter, uint64_t limit,
                                     std::atomic<uint32_t>& rests, const iovec* parts, size_t count,
                                     const Copy& copy) {
  uint64_t at = counter.load(std::memory_order_relaxed);
  limit = std::min(limit, kTurn);
  Moved moved;
  for (size_t i = 0; i < count && limit > 0; ++i) {
    auto* part = static_cast<char*>(parts[i].iov_base);
    for (size_t left = parts[i].iov_len; left > 0 && limit > 0;) {
      const uint64_t size = std::min({uint64_t{left}, limit, kRing - at % kRing});
      copy(ring.bytes.data() + at % kRing, part, size);
      part += size, left -= size, limit -= size, at += size;
      moved.bytes += size;
      counter.store(at);
    }
  }
  if (moved.bytes == 0) return moved;
  // All in one order: either the other side, about to rest, sees the counter, or this sees that it
  // rests.
  moved.wakes = rests.load() != 0 && rests.exchange(0) != 0;
  return moved;
}

SharedRings::Moved SharedRings::send(const iovec* parts, size_t count) {
  Ring& ring = *outgoing_;
  return move(
      ring, ring.written, kRing - used(ring), ring.reader_rests, parts, count,
      [](char* in_ring, const char* part, size_t size) { std::memcpy(in_ring, part, size); });
}

SharedRings::Moved SharedRings::receive(const iovec* parts, size_t count) {
  Ring& ring = *incoming_;
  return move(
      ring, ring.read, used(ring), ring.writer_rests, parts, count,
      [](const char* in_ring, char* part, size_t size) { std::memcpy(part, in_ring, size); });
}

bool SharedRings::rest(bool to_send, bool to_receive) {
  outgoing_->writer_rests.store(to_send);
  incoming_->reader_rests.store(to_receive);
  return !(to_send && used(*outgoing_) < kRing) && !(to_receive && used(*incoming_) > 0);
}

void SharedRings::rise() {
  outgoing_->writer_rests.store(0, std::memory_order_relaxed);
  incoming_->reader_rests.store(0, std::memory_order_relaxed);
}

}  // namespace caffe
