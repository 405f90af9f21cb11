#include "collective/algorithms.h"

#include <algorithm>

namespace caffe {
namespace {

constexpr size_t kMaxShareBytes = size_t{64} << 20;

void add(float* __restrict__ sum, const float* __restrict__ summand, size_t n) {
  for (size_t i = 0; i < n; ++i) sum[i] += summand[i];
}

size_t divide_up(size_t a, size_t b) { return (a + b - 1) / b; }

// Cuts n floats into one share per rank and each share into pieces. Piece i of the ring's
// 2 (world - 1) rounds belongs to round i / pieces.
struct Cut {
  Cut(float* data, size_t n, int world)
      : data(data),
        n(n),
        world(world),
        share(divide_up(divide_up(n, world), 16) * 16),
        pieces(std::max<size_t>(1, divide_up(share, kPieceFloats))) {}

  struct Piece {
    float* begin;
    size_t size;
  };
  // `owner` may be negative or too large: it is taken modulo world.
  Piece piece(long owner, size_t index) const {
    const size_t at = static_cast<size_t>((owner % world + world) % world);
    const size_t first = std::min(n, at * share);
    const size_t last = std::min(n, first + share);
    const size_t begin = std::min(last, first + index * kPieceFloats);
    return {data + begin, std::min(last - begin, kPieceFloats)};
  }

  float* data;
  size_t n;
  long world;
  size_t share;
  size_t pieces;
};

}  // namespace

void allreduce_by_doubling(Conversation& exchange, Workspace& work, float* data, size_t n) {
  const int rank = exchange.rank(), world = exchange.world();
  const size_t bytes = n * sizeof(float);
  float* const other = work.scratch.data();
  Request& sent = work.sends[0];
  Request& received = work.receives[0];
  int half = 1;  // the largest power of two within world
  while (2 * half <= world) half *= 2;
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

void allreduce_by_ring(Conversation& exchange, Workspace& work, float* data, size_t n) {
  const int rank = exchange.rank(), world = exchange.world();
  const int next = (rank + 1) % world, previous = (rank + world - 1) % world;
  const Cut cut(data, n, world);
  const size_t steps = 2 * (world - 1) * cut.pieces;
  const size_t summing = steps / 2;  // steps that add; the others only copy
  // In round r a rank sends share rank - r and receives share rank - r - 1.
  const auto outgoing = [&](size_t step) {
    return cut.piece(rank - static_cast<long>(step / cut.pieces), step % cut.pieces);
  };
  const auto incoming = [&](size_t step) {
    return cut.piece(rank - static_cast<long>(step / cut.pieces) - 1, step % cut.pieces);
  };
  const auto scratch = [&](size_t step) {
    return work.scratch.data() + step % kWindow * kPieceFloats;
  };
  size_t sends = 0, sent = 0, receives = 0, received = 0;
  while (sent < steps || received < steps) {
    while (receives < steps && receives < received + kWindow) {
      const auto [begin, size] = incoming(receives);
      exchange.receive(work.receives[receives % kWindow], previous,
                       receives < summing ? scratch(receives) : begin, size * sizeof(float));
      ++receives;
    }
    // What is sent in one round was received in the round before.
    while (sends < steps && sends < sent + kWindow && (sends < received + cut.pieces)) {
      const auto [begin, size] = outgoing(sends);
      exchange.send(work.sends[sends % kWindow], next, begin, size * sizeof(float));
      ++sends;
    }
    const size_t before = sent + received;
    while (sent < sends && work.sends[sent % kWindow].complete()) ++sent;
    if (received < receives && work.receives[received % kWindow].complete()) {
      const auto [begin, size] = incoming(received);
      if (received < summing) add(begin, scratch(received), size);
      ++received;
    }
    if (sent + received == before) exchange.advance(received < steps ? previous : next);
  }
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
