#include "capi/compute_thread.h"

#include <omp.h>
#include <pthread.h>
#include <signal.h>

namespace caffe::capi {

ComputeThread::ComputeThread(int threads) {
  // Signals are the host's business: its handlers run on its own threads.
  sigset_t blocked, before;
  sigfillset(&blocked);
  for (const int synchronous : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigdelset(&blocked, synchronous);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  try {
    thread_ = std::thread([this, threads] { loop(threads); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ComputeThread::~ComputeThread() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ComputeThread::execute(const std::function<void()>& work) {
  std::unique_lock<std::mutex> lock(mutex_);
  error_ = nullptr;
  work_ = &work;
  changed_.notify_all();
  changed_.wait(lock, [this] { return work_ == nullptr; });
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ComputeThread::loop(int threads) {
  if (threads > 0) omp_set_num_threads(threads);
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || work_ != nullptr; });
    if (work_ == nullptr) return;
    lock.unlock();
    std::exception_ptr error;
    try {
      (*work_)();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    error_ = std::exchange(error, nullptr);
    work_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace caffe::capi
