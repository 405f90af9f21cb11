#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "net/net.h"
#include "solvers/exchange.h"
#include "solvers/update_rule.h"

namespace caffe {

// What happens to gradients: they are summed over the workers and used for the update of weights
// and history, while the backward pass goes on. The parameters are taken in the order in which
// backward completes their gradients and cut into buckets. A bucket is handed to the exchange as
// soon as all in it is complete, and its part of the weights is updated as soon as its sum has
// arrived. The buckets depend on the net alone, so all ranks sum the same in the same order. With
// one worker the same happens without the sum.
//
// Weights, gradients and history of a parameter lie in the layout that the net's plan wants for its
// weights, so an update is one pass over equal arrays and nothing is reordered between steps; with
// an exchange all gradients lie in one piece of memory, from which they travel without a copy.
//
// Workers may share the update out: each updates the part of every bucket whose sum it owns, in the
// exchange's thread and while the sum is still in its cache, and sends the others the new weights
// in place of the sum. Then each has the history of its own parts only, until all gather it.
//
// Used by the thread that runs the net.
class ParameterUpdate {
 public:
  // `history`: one blob per parameter, kind after kind. All must outlive the object.
  ParameterUpdate(const SolverParameter& param, const UpdateRule& rule, Net& net,
                  const std::vector<std::shared_ptr<Blob>>& history);

  ParameterUpdate(const ParameterUpdate&) = delete;
  ParameterUpdate& operator=(const ParameterUpdate&) = delete;

  // Equal on all ranks.
  struct Agreement {
    bool plain_wire = false;  // all travels in row-major order, whatever the plan prefers
    bool shares = false;      // updates are shared out: nobody needs the summed gradients
  };
  // From now on gradients are summed. Once, before the first iteration.
  void set_exchange(Exchange* exchange, const Agreement& agreement);
  bool shares() const { return agreement_.shares; }

  // Whether this rank has all of the history.
  bool history_is_whole() const { return whole_; }
  // Collective: afterwards all ranks have it.
  void gather_history();
  // One rank suffices: all ranks gather it in the next `finish`.
  void request_history() { requested_ = true; }

  struct Step {
    float rate = 0;
    int64_t iteration = 0;
    // Whether weights may change before backward has ended. They never do where gradients are
    // clipped, which needs all of them, or where somebody looks at blobs in between.
    bool early = true;
  };

  // ---- one iteration, in this order ----
  // Before the backward pass that completes the gradients. `loss` travels with them.
  void begin(const Step& step, double loss);
  // Within it: layers from `layer` upwards are done.
  void reached(int layer);
  // After it: returns when all sums have arrived, with the mean of the losses.
  double collect();
  // Updates what has not been updated yet.
  void finish();

  // Updates from the gradients that are in the parameters' diffs, sums over the workers if there
  // are some.
  void apply(const Step& step);

 private:
  struct Learned {  // a parameter that is updated
    const Net::Parameter* parameter = nullptr;
    std::vector<Buffer*> history;
    int data_index = 0;  // representations in one common layout
    int diff_index = 0;
    std::vector<int> history_index;
    int64_t elements = 0;      // padding included
    float* wire = nullptr;     // where its gradient travels from; null without an exchange
    float* weights = nullptr;  // where its weights travel from; null where they do not
  };
  // What an update of a whole parameter works on.
  struct Operands {
    UpdateStep step;
    float* weights = nullptr;
    const float* gradient = nullptr;
    std::array<float*, 4> history{};
  };
  struct Segment {  // of one parameter
    size_t learned;
    int64_t offset;
    int64_t count;
    Operands operands;  // for the exchange's thread
  };
  struct Bucket {
    int layer = 0;  // complete when backward has reached it
    std::vector<Segment> segments;
    float* begin = nullptr;  // of the wire
    float* results = nullptr;
    size_t count = 0;
    Exchange::Apply update;  // updates what this rank owns
    uint64_t sum = 0;
  };

  void bind();
  Learned bind_parameter(size_t index);
  void cut();
  void lay_pieces();
  void add_segment(const Segment& segment);
  void add_tail();
  void share_buckets();
  bool watched() const;
  void start_buckets(int layer);
  void start(Bucket& bucket);
  void absorb(bool patient);
  static void copy(const float* from, float* to, const Segment& segment);
  void take_back(const Bucket& bucket);
  void update_arrived();
  template <typename Work>
  void for_each_overlap(const Bucket& bucket, int64_t begin, int64_t count, const Work& work) const;
  void update_owned(const Bucket& bucket, int64_t begin, int64_t count) const;
  static const float* gradient_of(const Learned& learned);
  Operands operands_of(const Learned& learned) const;
  void update_range(const Operands& operands, int64_t offset, int64_t count) const;
  void update_range(const Learned& learned, int64_t offset, int64_t count) const;
  void update_frozen();
  bool history_moves(const Learned& learned) const;
  void trim();
  void clip();
  double gradient_norm();
  bool clips() const { return param_.clip_gradients() >= 0; }

  const SolverParameter& param_;
  const UpdateRule& rule_;
  Net& net_;
  const std::vector<std::shared_ptr<Blob>>& history_;
  Exchange* exchange_ = nullptr;
  Agreement agreement_;
  std::vector<LayoutPtr> layouts_;  // with an exchange: of each parameter, whatever is planned anew

  int64_t bound_plan_ = -1;
  int64_t trimmed_plan_ = -1;     // the plan whose unused memory was given up
  std::vector<Learned> learned_;  // in the order in which they are completed
  std::vector<Learned> frozen_;   // parameters of lr_mult 0: their history goes on
  std::vector<Bucket> buckets_;
  // Buffers that lie in them keep them alive.
  std::shared_ptr<Storage> wire_;     // all gradients, then the tail
  std::shared_ptr<Storage> weights_;  // as the wire, with weights
  // Of the wire: the loss, and how many ranks request the history.
  static constexpr int64_t kTail = 2;
  float* tail_ = nullptr;
  float* tail_result_ = nullptr;  // where its sum arrives

  Step step_;
  bool overlaps_ = false;  // buckets start within backward
  bool early_ = false;     // and are updated within it
  float scale_ = 1;        // of gradients
  double own_loss_ = 0;
  uint64_t tail_sum_ = 0;
  bool whole_ = true;
  bool requested_ = false;
  bool gathers_ = false;  // at the end of this iteration
  size_t started_ = 0;    // buckets; started_ >= arrived_ >= updated_
  size_t arrived_ = 0;
  size_t updated_ = 0;
};

}  // namespace caffe
