#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/for_each.h"
#include "layers/layer.h"

namespace caffe {
namespace {

// Borders in units of the image.
struct Box {
  float xmin = 0;
  float ymin = 0;
  float xmax = 0;
  float ymax = 0;

  float width() const { return xmax - xmin; }
  float height() const { return ymax - ymin; }
  float area() const { return xmax < xmin || ymax < ymin ? 0 : width() * height(); }
};

struct Prior {
  Box box;
  float variance[4] = {};
};

struct Detection {
  float score = 0;
  int64_t label = 0;
  Box box;
};

// Intersection over union.
float overlap(const Box& a, const Box& b) {
  const Box common{std::max(a.xmin, b.xmin), std::max(a.ymin, b.ymin), std::min(a.xmax, b.xmax),
                   std::min(a.ymax, b.ymax)};
  const bool apart = b.xmin > a.xmax || b.xmax < a.xmin || b.ymin > a.ymax || b.ymax < a.ymin;
  if (apart || common.width() <= 0 || common.height() <= 0) return 0;
  const float both = common.width() * common.height();
  return both / (a.area() + b.area() - both);
}

// The box that the four predicted numbers `p` stand for; `v` are the variances that scale them.
Box decode(PriorBoxParameter::CodeType code, const Box& prior, const float* v, const float* p) {
  const float w = prior.width(), h = prior.height();
  switch (code) {
    case PriorBoxParameter::CENTER_SIZE: {
      const float x = v[0] * p[0] * w + (prior.xmin + prior.xmax) / 2;
      const float y = v[1] * p[1] * h + (prior.ymin + prior.ymax) / 2;
      const float half_w = std::exp(v[2] * p[2]) * w / 2;
      const float half_h = std::exp(v[3] * p[3]) * h / 2;
      return {x - half_w, y - half_h, x + half_w, y + half_h};
    }
    case PriorBoxParameter::CORNER_SIZE:
      return {prior.xmin + v[0] * p[0] * w, prior.ymin + v[1] * p[1] * h,
              prior.xmax + v[2] * p[2] * w, prior.ymax + v[3] * p[3] * h};
    case PriorBoxParameter::CORNER:
      break;
  }
  return {prior.xmin + v[0] * p[0], prior.ymin + v[1] * p[1], prior.xmax + v[2] * p[2],
          prior.ymax + v[3] * p[3]};
}

// Detections out of SSD's predictions. Bottoms: locations, N x (priors, classes or 1, 4);
// confidences, N x (priors, classes); what PriorBox gives, 1 x 2 x (priors 4); a fourth is not
// looked at. Top 1 x 1 x detections x 7: image, label, score, xmin, ymin, xmax, ymax, by image,
// label and falling score. Where no image has a detection, one row for each: its number and six
// times -1. Liu et al., "SSD: Single Shot MultiBox Detector", 2016; as in the SSD fork
// (weiliu89/caffe, DetectionOutputParameter = 204) without its result files and its window.
class DetectionOutputLayer : public PortableLayer<DetectionOutputLayer> {
 public:
  using PortableLayer::PortableLayer;

  Arity bottoms() const override { return Arity::between(3, 4); }
  bool has_backward() const override { return false; }
  bool shapes_tops_by_value() const override { return true; }
  bool allow_force_backward(int) const override { return false; }

  void set_up(const Blobs&, const Blobs&) override {
    const DetectionOutputParameter& p = parameters();
    CAFFE_REQUIRE(p.num_classes() > 0, "found num_classes ", p.num_classes(),
                  " in detection_output_param; it must be given and be positive");
    CAFFE_REQUIRE(p.nms_param().nms_threshold() >= 0, "found nms_threshold ",
                  p.nms_param().nms_threshold(), " in nms_param; it must not be negative");
    CAFFE_REQUIRE(p.nms_param().eta() > 0 && p.nms_param().eta() <= 1, "found eta ",
                  p.nms_param().eta(), " in nms_param; it must be above 0 and at most 1");
    CAFFE_REQUIRE(p.save_output_param().output_directory().empty(),
                  "writing detections to the output_directory \"",
                  p.save_output_param().output_directory(),
                  "\" of save_output_param is not there; remove it and take them from the top");
    CAFFE_REQUIRE(!p.visualize(),
                  "visualize is not there; remove it from detection_output_param and draw the "
                  "boxes of the top");
    classes_ = p.num_classes();
    boxes_per_prior_ = p.share_location() ? 1 : classes_;
  }

  void reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& locations = bottom[0]->shape();
    const Shape& confidences = bottom[1]->shape();
    const Shape& priors = bottom[2]->shape();
    CAFFE_REQUIRE(priors.axes() == 3 && priors[1] == 2 && priors[2] % 4 == 0,
                  "found priors of shape ", priors.str(),
                  ", expected 1 x 2 x (priors 4), as PriorBox gives them");
    priors_ = priors[2] / 4;
    CAFFE_REQUIRE(locations.axes() >= 2 && locations.count(1) == priors_ * boxes_per_prior_ * 4,
                  "found locations of shape ", locations.str(), ", expected 4 x ", boxes_per_prior_,
                  " numbers in each row for each of ", priors_, " priors");
    CAFFE_REQUIRE(confidences.axes() >= 2 && confidences.count(1) == priors_ * classes_,
                  "found confidences of shape ", confidences.str(), ", expected ", classes_,
                  " numbers in each row for each of ", priors_, " priors");
    CAFFE_REQUIRE(locations[0] == confidences[0], "found locations of ", locations[0],
                  " images and confidences of ", confidences[0]);
    top[0]->reshape({1, 1, 1, 7});
  }

  template <typename T>
  void forward(const Blobs& bottom, const Blobs& top) {
    const T* locations = bottom[0]->data_as<T>();
    const T* confidences = bottom[1]->data_as<T>();
    const std::vector<Prior> priors = read_priors(bottom[2]->data_as<T>());
    std::vector<std::vector<Detection>> found(static_cast<size_t>(bottom[0]->shape()[0]));
    for_each_heavy(static_cast<int64_t>(found.size()), [&](int64_t i) {
      found[static_cast<size_t>(i)] = detect(priors, locations + i * priors_ * boxes_per_prior_ * 4,
                                             confidences + i * priors_ * classes_);
    });
    write<T>(found, *top[0]);
  }

 private:
  const DetectionOutputParameter& parameters() const { return param().detection_output_param(); }

  template <typename T>
  std::vector<Prior> read_priors(const T* values) const {
    const bool scaled = !parameters().variance_encoded_in_target();
    std::vector<Prior> priors(static_cast<size_t>(priors_));
    for (int64_t i = 0; i < priors_; ++i) {
      const T* at = values + i * 4;
      Prior& prior = priors[static_cast<size_t>(i)];
      prior.box = {static_cast<float>(at[0]), static_cast<float>(at[1]), static_cast<float>(at[2]),
                   static_cast<float>(at[3])};
      for (int j = 0; j < 4; ++j)
        prior.variance[j] = scaled ? static_cast<float>(at[priors_ * 4 + j]) : 1.0f;
      CAFFE_REQUIRE_CODE(parameters().code_type() == PriorBoxParameter::CORNER ||
                             (prior.box.width() > 0 && prior.box.height() > 0),
                         ErrorCode::kData, label(), " found prior ", i, " from (", prior.box.xmin,
                         ", ", prior.box.ymin, ") to (", prior.box.xmax, ", ", prior.box.ymax,
                         "), which has no area; correct the priors");
    }
    return priors;
  }

  // Of one image, in the order of the top.
  template <typename T>
  std::vector<Detection> detect(const std::vector<Prior>& priors, const T* locations,
                                const T* confidences) const {
    std::vector<Detection> all;
    for (int64_t label = 0; label < classes_; ++label) {
      if (label == parameters().background_label_id()) continue;
      add_distinct(candidates(priors, locations, confidences, label), &all);
    }
    const int64_t keep = parameters().keep_top_k();
    if (keep < 0 || static_cast<int64_t>(all.size()) <= keep) return all;
    std::stable_sort(all.begin(), all.end(), better);
    all.resize(static_cast<size_t>(keep));
    std::stable_sort(all.begin(), all.end(),
                     [](const Detection& a, const Detection& b) { return a.label < b.label; });
    return all;
  }

  static bool better(const Detection& a, const Detection& b) { return a.score > b.score; }

  // The boxes of a class with enough confidence, best first, at most top_k. A confidence that is
  // not a number is none.
  template <typename T>
  std::vector<Detection> candidates(const std::vector<Prior>& priors, const T* locations,
                                    const T* confidences, int64_t label) const {
    const float threshold = parameters().has_confidence_threshold()
                                ? parameters().confidence_threshold()
                                : std::numeric_limits<float>::lowest();
    std::vector<std::pair<float, int64_t>> chosen;
    for (int64_t i = 0; i < priors_; ++i) {
      const auto score = static_cast<float>(confidences[i * classes_ + label]);
      if (score > threshold) chosen.emplace_back(score, i);
    }
    std::stable_sort(chosen.begin(), chosen.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    const NonMaximumSuppressionParameter& nms = parameters().nms_param();
    if (nms.has_top_k() && nms.top_k() >= 0 && static_cast<size_t>(nms.top_k()) < chosen.size()) {
      chosen.resize(static_cast<size_t>(nms.top_k()));
    }
    std::vector<Detection> boxes;
    for (const auto& [score, i] : chosen) {
      const T* at = locations + (i * boxes_per_prior_ + (boxes_per_prior_ == 1 ? 0 : label)) * 4;
      const float predicted[4] = {static_cast<float>(at[0]), static_cast<float>(at[1]),
                                  static_cast<float>(at[2]), static_cast<float>(at[3])};
      const Prior& prior = priors[static_cast<size_t>(i)];
      boxes.push_back(
          {score, label, decode(parameters().code_type(), prior.box, prior.variance, predicted)});
    }
    return boxes;
  }

  // Non-maximum suppression: adds those that do not overlap a better one of them too much.
  void add_distinct(const std::vector<Detection>& best_first, std::vector<Detection>* all) const {
    float threshold = parameters().nms_param().nms_threshold();
    const float eta = parameters().nms_param().eta();
    const auto first = static_cast<std::ptrdiff_t>(all->size());
    for (const Detection& next : best_first) {
      const bool keep = std::all_of(all->begin() + first, all->end(), [&](const Detection& kept) {
        return overlap(next.box, kept.box) <= threshold;
      });
      if (!keep) continue;
      all->push_back(next);
      if (eta < 1 && threshold > 0.5f) threshold *= eta;
    }
  }

  template <typename T>
  static void write(const std::vector<std::vector<Detection>>& found, Blob& top) {
    size_t count = 0;
    for (const auto& of_image : found) count += of_image.size();
    const size_t rows = count > 0 ? count : found.size();
    top.reshape({1, 1, static_cast<int64_t>(rows), 7});
    T* out = top.overwrite_data<T>();
    for (size_t i = 0; i < found.size(); ++i) {
      if (count == 0) {
        *out++ = static_cast<T>(i);
        out = std::fill_n(out, 6, T{-1});
      }
      for (const Detection& d : found[i]) {
        for (const float value : {static_cast<float>(i), static_cast<float>(d.label), d.score,
                                  d.box.xmin, d.box.ymin, d.box.xmax, d.box.ymax}) {
          *out++ = static_cast<T>(value);
        }
      }
    }
  }

  int64_t classes_ = 0;
  int64_t boxes_per_prior_ = 1;
  int64_t priors_ = 0;
};

CAFFE_REGISTER_LAYER(DetectionOutput, DetectionOutputLayer);

}  // namespace
}  // namespace caffe
