#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

namespace caffe::capi {

// The thread that does all the work of one handle, whichever thread of the host calls. OpenMP keeps
// a team and a number of threads per calling thread, and vendor kernels are made for that number:
// so handles with different numbers live side by side in one process, and a host's thread pool does
// not multiply teams.
class ComputeThread {
 public:
  // OpenMP threads, this one included; 0: as many as the process may use.
  explicit ComputeThread(int threads);
  ~ComputeThread();
  ComputeThread(const ComputeThread&) = delete;
  ComputeThread& operator=(const ComputeThread&) = delete;

  // Runs `work` there and waits for it. Rethrows what it throws. One caller at a time.
  template <typename Work>
  auto run(Work&& work) -> std::invoke_result_t<Work> {
    using Result = std::invoke_result_t<Work>;
    if constexpr (std::is_void_v<Result>) {
      execute([&] { work(); });
    } else {
      std::optional<Result> result;
      execute([&] { result.emplace(work()); });
      return std::move(*result);
    }
  }

 private:
  void execute(const std::function<void()>& work);
  void loop(int threads);

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void()>* work_ = nullptr;  // under way
  std::exception_ptr error_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace caffe::capi
