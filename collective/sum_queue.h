#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "collective/communicator.h"

namespace caffe {

// Sums that are under way while the caller computes on: a thread of its own carries them out, with
// what is applied to them, in the order in which they were pushed, which must be the same on all
// ranks. The thread sleeps while there is nothing to do or to receive.
//
// One thread pushes, asks and waits. The communicator must outlive the queue, and between push and
// done nobody else uses it (but for abort and stats, as always).
class SumQueue {
 public:
  explicit SumQueue(Communicator& group);
  ~SumQueue() { stop(); }
  SumQueue(const SumQueue&) = delete;
  SumQueue& operator=(const SumQueue&) = delete;

  using Ticket = uint64_t;  // counts from 1
  // data[0..n) belongs to the queue until the sum is done. Allocates only while more are under way
  // than ever before.
  Ticket push(float* data, size_t n, Wire wire) { return push({data, n, wire, nullptr, nullptr}); }
  // Communicator::reduce_apply_gather; `apply`, too, must live until it is done.
  Ticket push(float* data, float* results, size_t n, const Communicator::Apply& apply) {
    return push({data, n, Wire::kFloat32, results, &apply});
  }
  // Whether this sum, and all before it, are done. Throws what ended the group.
  bool done(Ticket ticket);
  void wait(Ticket ticket);
  // Returns when no memory is in use any more, whatever happened to the sums.
  void drain() noexcept;

 private:
  struct Sum {
    float* data;
    size_t n;
    Wire wire;
    float* results;                    // null: an allreduce_sum
    const Communicator::Apply* apply;  // of results
  };
  Ticket push(const Sum& sum);
  void run();
  void carry_out(const Sum& sum);
  void stop();
  void throw_if_failed();

  Communicator& group_;
  std::atomic<Ticket> done_{0};
  std::mutex mutex_;
  std::condition_variable pushed_;
  std::condition_variable finished_;
  std::vector<Sum> sums_;  // guarded by mutex_, as all below
  size_t next_ = 0;        // of sums_, the first that has not been begun
  bool busy_ = false;
  bool stopping_ = false;
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;
  Ticket last_ = 0;
  std::thread thread_;
};

}  // namespace caffe
