#include "collective/algorithms.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <span>
#include <utility>

#include "core/clones.h"

namespace caffe {
namespace {

constexpr size_t kMaxShareBytes = size_t{64} << 20;
constexpr size_t kHalvingShare = 256 * 1024;
constexpr size_t kHalvingShareWithPartners = 16 * 1024;

CAFFE_CLONES void add(float* __restrict__ sum, const float* __restrict__ summand, size_t n) {
  for (size_t i = 0; i < n; ++i) sum[i] += summand[i];
}

size_t divide_up(size_t a, size_t b) { return (a + b - 1) / b; }

// Cuts n floats into one share per rank and each share into pieces. Piece i of the ring's
// 2 (world - 1) rounds belongs to round i / pieces.
struct Cut {
  Cut(size_t n, int world)
      : n(n),
        world(world),
        share(divide_up(divide_up(n, world), 16) * 16),
        pieces(std::max<size_t>(1, divide_up(share, kPieceFloats))) {}

  // `index` may be negative or too large: it is taken modulo world.
  Part share_at(long index) const {
    const size_t begin = std::min(n, static_cast<size_t>((index % world + world) % world) * share);
    return {begin, std::min(n - begin, share)};
  }
  Part piece(long share_index, size_t index) const {
    const Part whole = share_at(share_index);
    const size_t skipped = std::min(whole.count, index * kPieceFloats);
    return {whole.begin + skipped, std::min(whole.count - skipped, kPieceFloats)};
  }

  size_t n;
  long world;
  size_t share;
  size_t pieces;
};

// How the ring's pieces travel: as they are, or through memory of their own in another form.
class FloatWire {
 public:
  FloatWire(Workspace& work, size_t summing) : scratch_(work.scratch.data()), summing_(summing) {}
  static constexpr size_t kBytes = sizeof(float);

  const void* to_send(size_t, float* piece, size_t) { return piece; }
  // Sums arrive beside the piece, results straight in it.
  void* to_receive(size_t step, float* piece) { return step < summing_ ? slot(step) : piece; }
  void received(size_t step, float* piece, size_t size) {
    if (step < summing_) add(piece, slot(step), size);
  }

 private:
  float* slot(size_t step) { return scratch_ + step % kWindow * kPieceFloats; }
  float* scratch_;
  size_t summing_;
};

class Bf16Wire {
 public:
  Bf16Wire(Workspace& work, size_t summing) : summing_(summing) {
    if (work.packed.empty()) work.packed.resize(2 * kWindow * kPieceFloats);
    outgoing_ = work.packed.data();
    incoming_ = outgoing_ + kWindow * kPieceFloats;
  }
  static constexpr size_t kBytes = sizeof(BF16);

  const void* to_send(size_t step, float* piece, size_t size) {
    pack_bf16(slot(outgoing_, step), piece, size);
    return slot(outgoing_, step);
  }
  void* to_receive(size_t step, float*) { return slot(incoming_, step); }
  void received(size_t step, float* piece, size_t size) {
    if (step < summing_) {
      add_bf16(piece, slot(incoming_, step), size);
    } else {
      unpack_bf16(piece, slot(incoming_, step), size);
    }
  }

 private:
  static BF16* slot(BF16* base, size_t step) { return base + step % kWindow * kPieceFloats; }
  BF16* outgoing_;
  BF16* incoming_;
  size_t summing_;
};

template <typename Form>
void reduce_round(Conversation& exchange, Workspace& work, const Reduction& reduction) {
  const int world = exchange.world(), place = work.place;
  const int next = work.ring[(place + 1) % world];
  const int previous = work.ring[(place + world - 1) % world];
  const Cut cut(reduction.n, world);
  const size_t steps = 2 * (world - 1) * cut.pieces;
  const size_t summing = steps / 2;  // steps that add; the others only copy
  Form form(work, summing);
  const auto at = [&](size_t step, size_t begin) {
    return (step < summing ? reduction.data : reduction.results) + begin;
  };
  // In round r place p sends share p - r and receives share p - r - 1.
  const auto outgoing = [&](size_t step) {
    return cut.piece(place - static_cast<long>(step / cut.pieces), step % cut.pieces);
  };
  const auto incoming = [&](size_t step) {
    return cut.piece(place - static_cast<long>(step / cut.pieces) - 1, step % cut.pieces);
  };
  size_t sends = 0, sent = 0, receives = 0, received = 0;
  while (sent < steps || received < steps) {
    while (receives < steps && receives < received + kWindow) {
      const auto [begin, size] = incoming(receives);
      exchange.receive(work.receives[receives % kWindow], previous,
                       form.to_receive(receives, at(receives, begin)), size * Form::kBytes);
      ++receives;
    }
    // What is sent in one round was received in the round before.
    while (sends < steps && sends < sent + kWindow && (sends < received + cut.pieces)) {
      const auto [begin, size] = outgoing(sends);
      exchange.send(work.sends[sends % kWindow], next, form.to_send(sends, at(sends, begin), size),
                    size * Form::kBytes);
      ++sends;
    }
    const size_t before = sent + received;
    while (sent < sends && work.sends[sent % kWindow].complete()) ++sent;
    if (received < receives && work.receives[received % kWindow].complete()) {
      const auto [begin, size] = incoming(received);
      form.received(received, at(received, begin), size);
      // The last round of summing brings the share that this rank owns.
      const bool finished = received < summing && received + cut.pieces >= summing;
      if (finished && size > 0) reduction.finish(begin, size);
      ++received;
    }
    if (sent + received == before) exchange.advance(received < steps ? previous : next);
  }
}

// A range of floats goes to a peer while another comes from it, to be added or to replace.
template <typename Form>
void swap_ranges(Conversation& exchange, Workspace& work, int peer, std::span<float> out,
                 std::span<float> in, bool adds) {
  const size_t sending = divide_up(out.size(), kPieceFloats);
  const size_t receiving = divide_up(in.size(), kPieceFloats);
  Form form(work, adds ? receiving : 0);
  const auto piece = [](std::span<float> range, size_t index) {
    const size_t begin = index * kPieceFloats;
    return range.subspan(begin, std::min(range.size() - begin, kPieceFloats));
  };
  size_t sends = 0, sent = 0, receives = 0, received = 0;
  while (sent < sending || received < receiving) {
    for (; receives < receiving && receives < received + kWindow; ++receives) {
      const auto part = piece(in, receives);
      exchange.receive(work.receives[receives % kWindow], peer,
                       form.to_receive(receives, part.data()), part.size() * Form::kBytes);
    }
    for (; sends < sending && sends < sent + kWindow; ++sends) {
      const auto part = piece(out, sends);
      exchange.send(work.sends[sends % kWindow], peer,
                    form.to_send(sends, part.data(), part.size()), part.size() * Form::kBytes);
    }
    const size_t before = sent + received;
    while (sent < sends && work.sends[sent % kWindow].complete()) ++sent;
    if (received < receives && work.receives[received % kWindow].complete()) {
      const auto part = piece(in, received);
      form.received(received, part.data(), part.size());
      ++received;
    }
    if (sent + received == before) exchange.advance(peer);
  }
}

// The largest power of two up to `world`.
int power_of_two_within(int world) {
  return static_cast<int>(std::bit_floor(static_cast<unsigned>(world)));
}

// What a rank keeps of a range that it halves with a peer, and what the peer does.
struct Level {
  Level(Part whole, bool upper) {
    const size_t middle = std::min(whole.count, divide_up(whole.count, 32) * 16);
    mine = {whole.begin, middle};
    theirs = {whole.begin + middle, whole.count - middle};
    if (upper) std::swap(mine, theirs);
  }
  Part mine, theirs;
};

// Of the range `own`: halves with the peer of `mask`, does so with what it keeps, and doubles.
template <typename Form>
void halve_and_double(Conversation& exchange, Workspace& work, const Reduction& reduction, Part own,
                      int mask) {
  if (mask == 0) {
    if (own.count > 0) reduction.finish(own.begin, own.count);
    return;
  }
  const int peer = exchange.rank() ^ mask;
  const Level level(own, (exchange.rank() & mask) != 0);
  const auto part = [](float* of, Part range) {
    return std::span<float>(of + range.begin, range.count);
  };
  swap_ranges<Form>(exchange, work, peer, part(reduction.data, level.theirs),
                    part(reduction.data, level.mine), true);
  halve_and_double<Form>(exchange, work, reduction, level.mine, mask / 2);
  swap_ranges<Form>(exchange, work, peer, part(reduction.results, level.mine),
                    part(reduction.results, level.theirs), false);
}

template <typename Form>
void reduce_in_pairs(Conversation& exchange, Workspace& work, const Reduction& reduction) {
  const int rank = exchange.rank(), world = exchange.world(), half = power_of_two_within(world);
  const std::span<float> data(reduction.data, reduction.n);
  const std::span<float> results(reduction.results, reduction.n);
  // The ranks beyond a power of two hand their data to a partner, and get the result from it.
  if (rank >= half) {
    swap_ranges<Form>(exchange, work, rank - half, data, {}, false);
    swap_ranges<Form>(exchange, work, rank - half, {}, results, false);
    return;
  }
  const bool has_partner = rank + half < world;
  if (has_partner) swap_ranges<Form>(exchange, work, rank + half, {}, data, true);
  halve_and_double<Form>(exchange, work, reduction, {0, reduction.n}, half / 2);
  if (has_partner) swap_ranges<Form>(exchange, work, rank + half, results, {}, false);
}

}  // namespace

void allreduce_by_doubling(Conversation& exchange, Workspace& work, float* data, size_t n) {
  const int rank = exchange.rank(), world = exchange.world();
  const size_t bytes = n * sizeof(float);
  float* const other = work.scratch.data();
  Request& sent = work.sends[0];
  Request& received = work.receives[0];
  const int half = power_of_two_within(world);
  // The ranks beyond it hand their data to a partner, and get the result from it.
  if (rank >= half) {
    exchange.send(sent, rank - half, data, bytes);
    exchange.await(sent);
    exchange.receive(received, rank - half, data, bytes);
    exchange.await(received);
    return;
  }
  const bool has_partner = rank + half < world;
  if (has_partner) {
    exchange.receive(received, rank + half, other, bytes);
    exchange.await(received);
    add(data, other, n);
  }
  for (int mask = 1; mask < half; mask *= 2) {
    const int peer = rank ^ mask;
    exchange.send(sent, peer, data, bytes);
    exchange.receive(received, peer, other, bytes);
    exchange.await(received);
    exchange.await(sent);
    add(data, other, n);
  }
  if (has_partner) {
    exchange.send(sent, rank + half, data, bytes);
    exchange.await(sent);
  }
}

void reduce_by_ring(Conversation& exchange, Workspace& work, const Reduction& reduction,
                    Wire wire) {
  if (wire == Wire::kBf16) {
    reduce_round<Bf16Wire>(exchange, work, reduction);
  } else {
    reduce_round<FloatWire>(exchange, work, reduction);
  }
}

Part owned_in_ring(const Workspace& work, size_t n, int rank) {
  const auto place = std::find(work.ring.begin(), work.ring.end(), rank) - work.ring.begin();
  return Cut(n, static_cast<int>(work.ring.size())).share_at(static_cast<long>(place) + 1);
}

void reduce_by_halving(Conversation& exchange, Workspace& work, const Reduction& reduction,
                       Wire wire) {
  if (wire == Wire::kBf16) {
    reduce_in_pairs<Bf16Wire>(exchange, work, reduction);
  } else {
    reduce_in_pairs<FloatWire>(exchange, work, reduction);
  }
}

Part owned_in_halving(size_t n, int rank, int world) {
  const int half = power_of_two_within(world);
  if (rank >= half) return {};
  Part own{0, n};
  for (int mask = half / 2; mask >= 1; mask /= 2) own = Level(own, (rank & mask) != 0).mine;
  return own;
}

bool prefers_halving(size_t n, int world) {
  if (world <= 2) return false;
  // Of the ring every rank's share is a message of its own: below these sizes its latency counts.
  const size_t share = n / static_cast<size_t>(world) * sizeof(float);
  const bool power_of_two = std::has_single_bit(static_cast<unsigned>(world));
  return share <= (power_of_two ? kHalvingShare : kHalvingShareWithPartners);
}

void order_ring(Workspace& work, const std::vector<std::string>& hosts, int rank) {
  work.ring.resize(hosts.size());
  std::iota(work.ring.begin(), work.ring.end(), 0);
  std::stable_sort(work.ring.begin(), work.ring.end(),
                   [&](int a, int b) { return hosts[a] < hosts[b]; });
  const auto place = std::find(work.ring.begin(), work.ring.end(), rank);
  work.place = static_cast<int>(place - work.ring.begin());
}

void broadcast_by_tree(Conversation& exchange, Workspace& work, void* data, size_t bytes,
                       int root) {
  const int world = exchange.world();
  const int place = (exchange.rank() - root + world) % world;  // the root's is 0
  const auto rank_at = [&](int other) { return (other + root) % world; };
  int reach = 1;  // the lowest set bit of the place: who this rank gets it from, and passes it to
  while (reach < world && !(place & reach)) reach *= 2;
  if (place != 0) {
    exchange.receive(work.receives[0], rank_at(place - reach), data, bytes);
    exchange.await(work.receives[0]);
  }
  for (int step = reach / 2; step >= 1; step /= 2) {
    if (place + step >= world) continue;
    exchange.send(work.sends[0], rank_at(place + step), data, bytes);
    exchange.await(work.sends[0]);
  }
}

void broadcast_by_chain(Conversation& exchange, Workspace& work, void* data, size_t bytes,
                        int root) {
  const int rank = exchange.rank(), world = exchange.world();
  const int next = (rank + 1) % world, previous = (rank + world - 1) % world;
  const size_t piece = kPieceFloats * sizeof(float);
  const size_t pieces = divide_up(bytes, piece);
  const auto at = [&](size_t index) { return static_cast<char*>(data) + index * piece; };
  const auto size = [&](size_t index) { return std::min(piece, bytes - index * piece); };
  size_t receives = 0, received = rank == root ? pieces : 0;
  size_t sends = 0, sent = next == root ? pieces : 0;
  receives = received;
  sends = sent;
  while (sent < pieces || received < pieces) {
    for (; receives < pieces && receives < received + kWindow; ++receives) {
      exchange.receive(work.receives[receives % kWindow], previous, at(receives), size(receives));
    }
    for (; sends < received && sends < sent + kWindow; ++sends) {
      exchange.send(work.sends[sends % kWindow], next, at(sends), size(sends));
    }
    const size_t before = sent + received;
    while (sent < sends && work.sends[sent % kWindow].complete()) ++sent;
    while (received < receives && work.receives[received % kWindow].complete()) ++received;
    if (sent + received == before) exchange.advance(received < pieces ? previous : next);
  }
}

void barrier_by_dissemination(Conversation& exchange, Workspace& work) {
  const int rank = exchange.rank(), world = exchange.world();
  for (int step = 1; step < world; step *= 2) {
    const int from = (rank + world - step) % world;
    // The header alone is the message.
    exchange.send(work.sends[0], (rank + step) % world, nullptr, 0);
    exchange.receive(work.receives[0], from, nullptr, 0);
    exchange.await_header(from);
  }
}

std::vector<std::string> allgather_direct(Conversation& exchange, const std::string& mine) {
  const int rank = exchange.rank(), world = exchange.world();
  std::vector<std::string> all(world);
  std::vector<Request> sends(world), receives(world);
  all[rank] = mine;
  for (int peer = 0; peer < world; ++peer) {
    if (peer == rank) continue;
    exchange.send(sends[peer], peer, mine.data(), mine.size());
    exchange.receive(receives[peer], peer, nullptr, 0);
  }
  for (int peer = 0; peer < world; ++peer) {
    if (peer == rank) continue;
    const uint64_t size = exchange.await_header(peer);
    CAFFE_REQUIRE_CODE(size <= kMaxShareBytes, ErrorCode::kCommunication, "rank ", peer,
                       " gathers ", size, " bytes; at most ", kMaxShareBytes, " are allowed");
    all[peer].resize(size);
    exchange.receive(receives[peer], peer, all[peer].data(), size);
  }
  for (int peer = 0; peer < world; ++peer) {
    if (peer == rank) continue;
    exchange.await(receives[peer]);
    exchange.await(sends[peer]);
  }
  return all;
}

}  // namespace caffe
