#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

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
};

// data[i] becomes the sum over the ranks; n <= kPieceFloats. Recursive doubling: log2(world)
// exchanges. Every rank adds the same pairs, so all end with the same bits.
void allreduce_by_doubling(Conversation& exchange, Workspace& work, float* data, size_t n);

// The same for any n, with 2 (world - 1) / world of the data sent by every rank, which is the least
// possible. A ring: every share is summed on its way round, in the order of the ring, then its
// owner's result goes round. Sending, receiving and adding of different pieces overlap.
void allreduce_by_ring(Conversation& exchange, Workspace& work, float* data, size_t n);

// Small messages along a binomial tree; large ones, in pieces, from rank to rank.
void broadcast_by_tree(Conversation& exchange, Workspace& work, void* data, size_t bytes, int root);
void broadcast_by_chain(Conversation& exchange, Workspace& work, void* data, size_t bytes,
                        int root);

// Returns when all ranks have called it. log2(world) rounds.
void barrier_by_dissemination(Conversation& exchange, Workspace& work);

// Everybody's bytes, by rank; shares may differ in size. Each is sent straight to every rank.
std::vector<std::string> allgather_direct(Conversation& exchange, const std::string& mine);

}  // namespace caffe
