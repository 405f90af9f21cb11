#include "data/batch_loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <type_traits>

#include "core/error.h"
#include "data/permutation.h"

namespace caffe {
namespace {

constexpr std::align_val_t kAlignment{64};
constexpr int64_t kAhead = 2;  // rows for which samples are expected

// The order of records within an epoch; keeps the two permutations around the current position.
class RecordOrder {
 public:
  RecordOrder(int64_t size, const BatchLoaderOptions& options)
      : size_(size), sources_(options.sources), shuffle_(options.shuffle), seed_(options.seed) {}

  int64_t record_at(int64_t stream_position) {
    const int64_t position = stream_position / sources_;
    const int64_t index = position % size_;
    if (!shuffle_) return index;
    const int64_t epoch = position / size_;
    if (!permutation_ || epoch != epoch_) {
      permutation_.emplace(seed_, static_cast<uint64_t>(epoch), size_);
      epoch_ = epoch;
    }
    return (*permutation_)(index);
  }

 private:
  int64_t size_;
  int64_t sources_;
  bool shuffle_;
  uint64_t seed_;
  int64_t epoch_ = -1;
  std::optional<Permutation> permutation_;
};

// One batch in the making. Rows are claimed and finished under the loader's mutex and filled
// outside it.
struct Slot {
  Batch batch;
  BatchRange range;
  Extents extents;
  bool shaped = false;     // row 0 is done, the shape known and the memory there
  int64_t claimed = 0;     // rows given to workers
  int64_t unfinished = 0;  // rows not yet filled
  std::exception_ptr error;

  bool open() const { return shaped && error == nullptr && claimed < range.count; }
  bool ready() const { return unfinished == 0; }
};

}  // namespace

void FloatBuffer::Free::operator()(float* data) const { ::operator delete[](data, kAlignment); }

void FloatBuffer::resize(int64_t size) {
  if (size > capacity_) {
    data_.reset();
    capacity_ = 0;
    data_.reset(static_cast<float*>(
        ::operator new[](static_cast<size_t>(size) * sizeof(float), kAlignment)));
    capacity_ = size;
  }
  size_ = size;
}

class BatchLoader::Impl {
 public:
  Impl(std::shared_ptr<const SampleSource> source, std::shared_ptr<const Transformer> transformer,
       BatchSchedule schedule, const BatchLoaderOptions& options)
      : source_(std::move(source)),
        transformer_(std::move(transformer)),
        schedule_(std::move(schedule)),
        options_(options) {
    CAFFE_REQUIRE(options.threads >= 1 && options.prefetch >= 1,
                  "a loader needs at least one thread and one batch, ", "found threads ",
                  options.threads, ", prefetch ", options.prefetch);
    // One more than is held ready: the batch that is being filled.
    slots_.resize(static_cast<size_t>(options.prefetch) + 1);
    spare_.reserve(slots_.size() + 1);
    try {
      for (int i = 0; i < options.threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (...) {
      stop();
      throw;
    }
  }

  ~Impl() { stop(); }

  void cancel() {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    work_.notify_all();
    ready_.notify_all();
  }

  bool next(Batch& batch) {
    std::unique_lock lock(mutex_);
    const auto due = [this] {
      return cancelled_ || (begun_ == 0 ? ended_ : slots_[head_].ready());
    };
    if (!due()) {
      const auto start = std::chrono::steady_clock::now();
      ready_.wait(lock, due);
      seconds_waited_ +=
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    CAFFE_REQUIRE_CODE(!cancelled_, ErrorCode::kCancelled, "loading of ", source_->name(),
                       " was cancelled");
    if (begun_ == 0) {
      if (schedule_error_) std::rethrow_exception(schedule_error_);
      return false;
    }
    Slot& slot = slots_[head_];
    if (slot.error)
      std::rethrow_exception(slot.error);  // stays at the head: later calls throw it again
    if (batch.data.data() != nullptr) {
      spare_.emplace_back();
      std::swap(spare_.back(), batch);
    }
    std::swap(batch, slot.batch);
    head_ = (head_ + 1) % slots_.size();
    --begun_;
    work_.notify_all();
    return true;
  }

  double seconds_waited() const {
    const std::lock_guard lock(mutex_);
    return seconds_waited_;
  }

  Extents extents_at(int64_t position) const {
    RecordOrder order(source_->size(), options_);
    Transformer::Scratch scratch;
    const int64_t number = order.record_at(position);
    return named(number, [&] {
      return transformer_->output(source_->sample(number, scratch).content.pixels.extents);
    });
  }

 private:
  struct Worker {
    RecordOrder order;
    Transformer::Scratch scratch;
  };

  void stop() {
    cancel();
    for (std::thread& worker : workers_) worker.join();
  }

  // Runs `body`; an error in it gets the record in front.
  template <typename Body>
  std::invoke_result_t<Body> named(int64_t number, Body body) const {
    try {
      return body();
    } catch (Error& error) {
      throw error.prepend(
          concat("record '", source_->key(number), "' (number ", number, ") of ", source_->name()));
    }
  }

  void work() {
    Worker worker{RecordOrder(source_->size(), options_), {}};
    std::unique_lock lock(mutex_);
    while (!cancelled_) {
      if (Slot* slot = open_slot()) {
        fill_some(*slot, worker, lock);
      } else if (!ended_ && !failed_ && begun_ < slots_.size()) {
        begin(worker, lock);
      } else {
        work_.wait(lock);
      }
    }
  }

  Slot* open_slot() {
    for (size_t i = 0; i < begun_; ++i) {
      Slot& slot = slots_[(head_ + i) % slots_.size()];
      if (slot.open()) return &slot;
    }
    return nullptr;
  }

  // Starts the next batch: its first record decides the shape.
  void begin(Worker& worker, std::unique_lock<std::mutex>& lock) {
    BatchRange range;
    try {
      range = schedule_(next_batch_++);
    } catch (...) {
      schedule_error_ = std::current_exception();
    }
    if (range.count <= 0) {
      ended_ = true;
      ready_.notify_all();
      return;
    }
    Slot& slot = slots_[(head_ + begun_++) % slots_.size()];
    if (!spare_.empty()) {
      std::swap(slot.batch, spare_.back());
      spare_.pop_back();
    }
    slot.range = range;
    slot.shaped = false;
    slot.error = nullptr;
    slot.claimed = 1;
    slot.unfinished = range.count;
    lock.unlock();
    const std::exception_ptr error = caught([&] { shape(slot, worker); });
    lock.lock();
    slot.shaped = true;
    if (range.count > 1) work_.notify_all();
    finish(slot, 1, error);
  }

  void fill_some(Slot& slot, Worker& worker, std::unique_lock<std::mutex>& lock) {
    // Small enough pieces that all workers finish a batch together.
    const int64_t most = std::max<int64_t>(1, slot.range.count / (4 * options_.threads));
    const int64_t first = slot.claimed;
    const int64_t count = std::min(most, slot.range.count - first);
    slot.claimed += count;
    lock.unlock();
    const std::exception_ptr error = caught([&] {
      for (int64_t row = first; row < first + count; ++row) fill_row(slot, row, worker);
    });
    lock.lock();
    finish(slot, count, error);
  }

  template <typename Body>
  static std::exception_ptr caught(Body body) {
    try {
      body();
      return nullptr;
    } catch (...) {
      return std::current_exception();
    }
  }

  // Under the mutex. After an error the rows nobody has claimed are never filled.
  void finish(Slot& slot, int64_t rows, const std::exception_ptr& error) {
    slot.unfinished -= rows;
    if (error != nullptr) {
      failed_ = true;
      if (slot.error == nullptr) slot.error = error;
      slot.unfinished -= slot.range.count - slot.claimed;
      slot.claimed = slot.range.count;
    }
    if (slot.ready()) ready_.notify_all();
  }

  void shape(Slot& slot, Worker& worker) {
    Batch& batch = slot.batch;
    const auto rows = static_cast<size_t>(slot.range.count);
    batch.labels.resize(rows);
    batch.positions.resize(rows);
    batch.records.resize(rows);
    place(slot, 0, worker, [&](const Extents& extents) {
      slot.extents = extents;
      if (batch.shape.axes() != 4) batch.shape = {0, 0, 0, 0};
      batch.shape[0] = slot.range.count;
      batch.shape[1] = extents.channels;
      batch.shape[2] = extents.height;
      batch.shape[3] = extents.width;
      batch.data.resize(batch.shape.count());
    });
  }

  void fill_row(Slot& slot, int64_t row, Worker& worker) {
    place(slot, row, worker, [&](const Extents& extents) {
      CAFFE_REQUIRE_CODE(extents == slot.extents, ErrorCode::kData, "gives ", extents,
                         " values, but the first record of its batch gave ", slot.extents,
                         "; resize the records to one size or set crop_size");
    });
  }

  template <typename CheckExtents>
  void place(Slot& slot, int64_t row, Worker& worker, CheckExtents check_extents) {
    Batch& batch = slot.batch;
    const auto at = static_cast<size_t>(row);
    const auto position_of = [&](int64_t i) { return slot.range.first + i * slot.range.stride; };
    const int64_t position = position_of(row);
    const int64_t number = worker.order.record_at(position);
    if (row + kAhead < slot.range.count)
      source_->expect(worker.order.record_at(position_of(row + kAhead)));
    named(number, [&] {
      const auto [content, label] = source_->sample(number, worker.scratch);
      check_extents(transformer_->output(content.pixels.extents));
      transformer_->transform(content, position, batch.data.data() + row * slot.extents.count());
      batch.labels[at] = label;
    });
    batch.positions[at] = position;
    batch.records[at] = number;
  }

  const std::shared_ptr<const SampleSource> source_;
  const std::shared_ptr<const Transformer> transformer_;
  const BatchSchedule schedule_;
  const BatchLoaderOptions options_;

  mutable std::mutex mutex_;
  std::condition_variable work_;   // something for a worker to do
  std::condition_variable ready_;  // something for next() to return
  std::vector<Slot>
      slots_;  // a ring: batches begun, oldest first, are begun_ of them from head_ on
  // Given back by the caller. The last is used first: where batches are taken as soon as they are
  // there, few are in use, and the cache holds them.
  std::vector<Batch> spare_;
  size_t head_ = 0;
  size_t begun_ = 0;
  int64_t next_batch_ = 0;
  bool ended_ = false;   // the schedule has no more batches
  bool failed_ = false;  // a batch holds an error: begin no more
  bool cancelled_ = false;
  std::exception_ptr schedule_error_;
  double seconds_waited_ = 0;
  std::vector<std::thread> workers_;
};

BatchLoader::BatchLoader(std::shared_ptr<const RecordSource> records,
                         const std::shared_ptr<const Transformer>& transformer,
                         BatchSchedule schedule, const BatchLoaderOptions& options)
    : BatchLoader(datum_samples(std::move(records), transformer), transformer, std::move(schedule),
                  options) {}

BatchLoader::BatchLoader(std::shared_ptr<const SampleSource> source,
                         std::shared_ptr<const Transformer> transformer, BatchSchedule schedule,
                         const BatchLoaderOptions& options)
    : impl_(std::make_unique<Impl>(std::move(source), std::move(transformer), std::move(schedule),
                                   options)) {}

BatchLoader::~BatchLoader() = default;

bool BatchLoader::next(Batch& batch) { return impl_->next(batch); }
void BatchLoader::cancel() { impl_->cancel(); }
double BatchLoader::seconds_waited() const { return impl_->seconds_waited(); }
Extents BatchLoader::extents_at(int64_t position) const { return impl_->extents_at(position); }

}  // namespace caffe
