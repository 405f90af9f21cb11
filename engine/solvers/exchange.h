#pragma once

#include <cstddef>
#include <cstdint>

#include "core/error.h"

namespace caffe {

// How a solver talks to the other workers. Every call but abandon is collective: all ranks make it,
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
  // As sum, but returns at once; the values belong to the exchange until the sum is done. No other
  // call is made while sums are under way. Returns a number to ask for it by.
  virtual uint64_t start_sum(float* values, size_t count) = 0;
  // Whether this sum, and all that were started before it, are done.
  virtual bool done(uint64_t sum) = 0;
  virtual void wait(uint64_t sum) = 0;
  // Whether values of start_sum are rounded on their way.
  virtual bool rounds() const = 0;
  // Ends the exchange, and that of the other ranks, with `cause`. Sums under way end, and their
  // values belong to the caller again.
  virtual void abandon(const Error& cause) noexcept = 0;

  // Seconds for which this rank's callers were kept waiting since construction.
  virtual double seconds() const = 0;
};

}  // namespace caffe
