#include "collective/sum_queue.h"

#include <pthread.h>
#include <signal.h>

namespace caffe {

SumQueue::SumQueue(Communicator& group) : group_(group) {
  // Signals belong to the threads of the host process (a JVM's, say).
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread_.native_handle(), "caffe-sums");
}

void SumQueue::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  pushed_.notify_all();
  thread_.join();
}

SumQueue::Ticket SumQueue::push(const Sum& sum) {
  Ticket ticket;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    throw_if_failed();
    sums_.push_back(sum);
    ticket = ++last_;
  }
  pushed_.notify_one();
  return ticket;
}

bool SumQueue::done(Ticket ticket) {
  if (done_.load(std::memory_order_acquire) >= ticket) return true;
  if (!failed_.load(std::memory_order_acquire)) return false;
  std::lock_guard<std::mutex> lock(mutex_);
  throw_if_failed();
  return false;
}

void SumQueue::wait(Ticket ticket) {
  if (done(ticket)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  finished_.wait(lock, [&] { return done_ >= ticket || failed_; });
  if (done_ < ticket) throw_if_failed();
}

void SumQueue::drain() noexcept {
  std::unique_lock<std::mutex> lock(mutex_);
  finished_.wait(lock, [&] { return !busy_ && (failed_ || next_ == sums_.size()); });
}

void SumQueue::throw_if_failed() {
  if (error_) std::rethrow_exception(error_);
}

void SumQueue::carry_out(const Sum& sum) {
  if (sum.results) {
    group_.reduce_apply_gather(sum.data, sum.results, sum.n, *sum.apply);
  } else {
    group_.allreduce_sum(sum.data, sum.n, sum.wire);
  }
}

void SumQueue::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    pushed_.wait(lock, [&] { return stopping_ || (next_ < sums_.size() && !failed_); });
    if (stopping_) return;
    const Sum sum = sums_[next_++];
    busy_ = true;
    lock.unlock();
    std::exception_ptr error;
    try {
      carry_out(sum);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    busy_ = false;
    if (error) {
      error_ = error;
      failed_.store(true, std::memory_order_release);
    } else {
      done_.fetch_add(1, std::memory_order_release);
    }
    if (next_ == sums_.size() || error) {
      sums_.clear();
      next_ = 0;
    }
    finished_.notify_all();
  }
}

}  // namespace caffe
