#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "core/clock.h"
#include "core/error.h"
#include "core/part.h"

namespace caffe {

// How a solver talks to the other workers. What is not said to be is collective: all ranks make it,
// in the same order. Errors are caffe::Error with ErrorCode::kCommunication; afterwards the
// exchange is dead.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual int rank() const = 0;
  virtual int world() const = 0;
  // values[i] becomes the sum over the ranks; all ranks get identical bits.
  virtual void sum(float* values, size_t count) = 0;
  virtual void broadcast(void* data, size_t bytes, int root) = 0;

  // ---- in the background ----
  // As sum, but returns at once; all that is handed over belongs to the exchange until the sum is
  // done. No other call is made while sums are under way. Returns a number to ask for it by.
  virtual uint64_t start_sum(float* values, size_t count) = 0;
  // What the owner of a part of a sum does with it, in a thread of the exchange.
  using Apply = std::function<void(size_t begin, size_t count)>;
  // As start_sum, but every part of values is summed, as it is and without rounding, on one rank
  // only, its owner. That one calls apply(begin, count) for all that it owns, in pieces; what this
  // leaves in results[begin, begin + count) is sent to all ranks, which end with the same bits
  // there. Small values are owned by all, and apply must do the same on every rank.
  virtual uint64_t start_apply(float* values, float* results, size_t count, const Apply& apply) = 0;
  // What `rank` owns of so many values. Not collective.
  virtual Part owned(size_t count, int rank) const = 0;
  // Whether this sum, and all that were started before it, are done.
  virtual bool done(uint64_t sum) = 0;
  virtual void wait(uint64_t sum) = 0;
  // Whether values of start_sum are rounded on their way.
  virtual bool rounds() const = 0;
  // Not collective. Ends the exchange, and that of the other ranks, with `cause`. Sums under way
  // end, and their values belong to the caller again.
  virtual void abandon(const Error& cause) noexcept = 0;

  // Seconds for which this rank's callers were kept waiting since construction.
  virtual double seconds() const = 0;
};

// The exchange over a connected group (collective/communicator.h), which must outlive it: sums of
// gradients run in the queue's thread (collective/sum_queue.h), all else in the caller's. A
// template because solvers do not know of groups.
template <typename Group, typename Queue, typename Wire>
class GroupExchange : public Exchange {
 public:
  GroupExchange(Group& group, Wire wire) : group_(group), wire_(wire), queue_(group) {}
  int rank() const override { return group_.rank(); }
  int world() const override { return group_.world(); }
  void sum(float* values, size_t count) override {
    timed([&] { group_.allreduce_sum(values, count); });
  }
  void broadcast(void* data, size_t bytes, int root) override {
    timed([&] { group_.broadcast(data, bytes, root); });
  }
  uint64_t start_sum(float* values, size_t count) override {
    return queue_.push(values, count, wire_);
  }
  uint64_t start_apply(float* values, float* results, size_t count, const Apply& apply) override {
    return queue_.push(values, results, count, apply);
  }
  Part owned(size_t count, int rank) const override { return group_.owned(count, rank); }
  bool done(uint64_t sum) override { return queue_.done(sum); }
  void wait(uint64_t sum) override {
    timed([&] { queue_.wait(sum); });
  }
  bool rounds() const override { return wire_ != Wire::kFloat32; }
  void abandon(const Error& cause) noexcept override {
    const bool cancelled = cause.code() == ErrorCode::kCancelled;
    group_.abort(cause.message(), cancelled ? cause.code() : ErrorCode::kCommunication);
    queue_.drain();
  }
  double seconds() const override { return seconds_; }

 private:
  template <typename Work>
  void timed(const Work& work) {
    const auto start = Clock::now();
    work();
    seconds_ += seconds_since(start);
  }

  Group& group_;
  const Wire wire_;
  Queue queue_;
  double seconds_ = 0;
};

}  // namespace caffe
