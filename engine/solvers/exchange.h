#pragma once

#include <cstddef>
#include <cstdint>

namespace caffe {

// How a solver talks to the other workers. Every call is collective: all ranks make it, in the same
// order. Errors are caffe::Error with ErrorCode::kCommunication; afterwards the exchange is dead.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual int rank() const = 0;
  virtual int world() const = 0;
  // values[i] becomes the sum over the ranks; all ranks get identical bits.
  virtual void sum(float* values, size_t count) = 0;
  virtual void broadcast(void* data, size_t bytes, int root) = 0;
  // Seconds this rank waited for others since construction.
  virtual double seconds() const = 0;
};

// The exchange over a connected group (collective/communicator.h), which must outlive it. A
// template because solvers do not know of groups.
template <typename Group>
class GroupExchange : public Exchange {
 public:
  explicit GroupExchange(Group& group) : group_(group) {}
  int rank() const override { return group_.rank(); }
  int world() const override { return group_.world(); }
  void sum(float* values, size_t count) override { group_.allreduce_sum(values, count); }
  void broadcast(void* data, size_t bytes, int root) override {
    group_.broadcast(data, bytes, root);
  }
  double seconds() const override { return group_.stats().seconds_waited; }

 private:
  Group& group_;
};

}  // namespace caffe
