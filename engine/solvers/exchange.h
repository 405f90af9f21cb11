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

}  // namespace caffe
