// `caffe test`: scores a net.

#include <vector>

#include "io/prototxt.h"
#include "tools/commands/commands.h"
#include "tools/common/command.h"

namespace caffe {
namespace {

void test_flags(Flags* flags) {
  flags->add("model", "FILE", "", "the net's prototxt; needed")
      .add("weights", "FILES", "", "comma-separated .caffemodel or .caffemodel.h5 files; needed")
      .add("iterations", "N", "50", "number of batches");
  add_state_flags(flags);
  add_threads_flag(flags);
  add_precision_flag(flags);
  add_gpu_flag(flags);
}

// " (* 1 = 2.3 loss)" for a blob that counts in the objective.
std::string loss_share(float weight, float value) {
  return weight == 0 ? "" : concat(" (* ", weight, " = ", weight * value, " loss)");
}

// Sums of the outputs' elements over batches.
class OutputSums {
 public:
  explicit OutputSums(const Net& net) : net_(net) {}

  void add_batch(int64_t batch) {
    size_t at = 0;
    for (const int id : net_.output_blobs()) {
      const Blob& blob = *net_.blobs()[static_cast<size_t>(id)];
      const float* values = blob.data_as<float>();
      for (int64_t i = 0; i < blob.count(); ++i, ++at) {
        if (batch == 0) sums_.push_back({id, 0});
        CAFFE_REQUIRE(at < sums_.size() && sums_[at].blob == id,
                      "the outputs of the net changed their shape between ",
                      "batches; its records must have one shape");
        sums_[at].sum += values[i];
        CAFFE_COMMAND_LOG("Batch ", batch, ", ", name(id), " = ", values[i]);
      }
    }
  }

  void report(int64_t batches) const {
    for (const Element& element : sums_) {
      const float mean = static_cast<float>(element.sum / static_cast<double>(batches));
      CAFFE_COMMAND_LOG(name(element.blob), " = ", mean,
                        loss_share(net_.loss_weight(element.blob), mean));
    }
  }

 private:
  struct Element {
    int blob;
    double sum;
  };
  const std::string& name(int blob) const { return net_.blob_names()[static_cast<size_t>(blob)]; }

  const Net& net_;
  std::vector<Element> sums_;
};

void test(const Flags& flags) {
  CAFFE_REQUIRE(flags.given("model"), "needs a model definition to score: -model FILE");
  CAFFE_REQUIRE(flags.given("weights"), "needs model weights to score: -weights FILE");
  refuse_gpu(flags);
  apply_threads_flag(flags);
  const int64_t batches = flags.number("iterations", 1);
  NetOptions options = net_options(flags, TEST);
  options.forward_only = true;
  CAFFE_COMMAND_LOG("Use CPU.");
  Net net(read_net(flags.text("model")), options);
  net.load_weights(flags.text("weights"));
  CAFFE_COMMAND_LOG("Running for ", batches, " iterations.");
  OutputSums outputs(net);
  double loss = 0;
  for (int64_t batch = 0; batch < batches; ++batch) {
    loss += net.forward();
    outputs.add_batch(batch);
  }
  CAFFE_COMMAND_LOG("Loss: ", loss / static_cast<double>(batches));
  outputs.report(batches);
}

const char* const kAbout =
    "Runs batches of the net's TEST phase and logs every output of each batch, then the mean of "
    "each output and the mean loss. Take as many iterations as it takes batches to see every "
    "record of the data layer once.\n"
    "\n"
    "example:\n"
    "caffe test -model lenet_train_test.prototxt -weights lenet.caffemodel -iterations 100";

}  // namespace

Command test_command() { return {"scores a net", kAbout, test_flags, test}; }

}  // namespace caffe
