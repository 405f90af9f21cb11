#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "collective/bf16.h"
#include "collective/communicator.h"
#include "collective/conversation.h"

namespace caffe {

// How ranks work together, in terms of messages only. All of them are called between
// Conversation::begin and Conversation::finish, by all ranks with the same sizes.

// What is sent in one piece: large enough for few system calls, small enough for the cache.
inline constexpr size_t kPieceFloats = 64 * 1024;
inline constexpr size_t kWindow = 4;  // pieces under way in each direction

// Memory that the algorithms need, made once.
struct Workspace {
  std::array<Request, kWindow> sends;
  std::array<Request, kWindow> receives;
  std::vector<float> scratch = std::vector<float>(kWindow * kPieceFloats);
  std::vector<BF16> packed;  // what is sent in another form; made when first needed
  std::vector<int> ring;     // the ranks in the order in which the ring goes round
  int place = 0;             // of this rank in it
};

// The ring's order: ranks of one host beside each other, so that a host's network card carries the
// data once in each direction, however many ranks share it. `hosts`: of all ranks, by rank.
void order_ring(Workspace& work, const std::vector<std::string>& hosts, int rank);

// What a sum is for: `data` is summed part by part, each by the rank that owns it; that rank calls
// `finish(begin, count)` for what is complete, in pieces and in any order, and results[0..n), which
// may be data itself, go round.
struct Reduction {
  float* data;
  float* results;
  size_t n;
  const Communicator::Apply& finish;
};

// data[i] becomes the sum over the ranks; n <= kPieceFloats. Recursive doubling: log2(world)
// exchanges. Every rank adds the same pairs, so all end with the same bits.
void allreduce_by_doubling(Conversation& exchange, Workspace& work, float* data, size_t n);

// For any n, with 2 (world - 1) / world of the data sent by every rank, which is the least
// possible. A ring: every share is summed on its way round, in the order of the ring, then its
// owner's result goes round. Sending, receiving and adding of different pieces overlap. With
// Wire::kBf16 a share's owner must round what it has finished, so that all end with the same bits.
void reduce_by_ring(Conversation& exchange, Workspace& work, const Reduction& reduction, Wire wire);
// The part of n elements that `rank` finishes.
Part owned_in_ring(const Workspace& work, size_t n, int rank);

// As many bytes as the ring where world is a power of two, else 2 n more for some ranks, but in
// 2 log2(world) exchanges: ranks in pairs halve what they sum, then double what they know
// (Rabenseifner 2004).
void reduce_by_halving(Conversation& exchange, Workspace& work, const Reduction& reduction,
                       Wire wire);
Part owned_in_halving(size_t n, int rank, int world);
// Which of the two is faster (docs/communication.md says how that was found).
bool prefers_halving(size_t n, int world);

// Small messages along a binomial tree; large ones, in pieces, from rank to rank.
void broadcast_by_tree(Conversation& exchange, Workspace& work, void* data, size_t bytes, int root);
void broadcast_by_chain(Conversation& exchange, Workspace& work, void* data, size_t bytes,
                        int root);

// Returns when all ranks have called it. log2(world) rounds.
void barrier_by_dissemination(Conversation& exchange, Workspace& work);

// Everybody's bytes, by rank; shares may differ in size. Each is sent straight to every rank.
std::vector<std::string> allgather_direct(Conversation& exchange, const std::string& mine);

}  // namespace caffe
