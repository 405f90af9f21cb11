#pragma once

#include <memory>
#include <string>

#include "data/record_source.h"
#include "data/transformer.h"

namespace caffe {

// A numbered collection that a BatchLoader makes batches of: records of a store, pictures of a
// list. All members may be called by several threads at once.
class SampleSource {
 public:
  struct Sample {
    Transformer::Content content;  // lives as long as the scratch it was made with
    float label = 0;
  };

  virtual ~SampleSource() = default;
  // Number of samples, at least 1.
  virtual int64_t size() const = 0;
  // Path of the whole, for messages.
  virtual const std::string& name() const = 0;
  // What names one sample in messages and as a key.
  virtual std::string key(int64_t number) const = 0;
  // Reads, and decodes unless that is left to who takes the content. Errors say what is wrong with
  // the sample; the caller puts its name in front.
  virtual Sample sample(int64_t number, Transformer::Scratch& scratch) const = 0;
  // The sample will be asked for soon: may bring it nearer.
  virtual void expect(int64_t number) const { (void)number; }
};

// The Datum records of a store.
std::shared_ptr<const SampleSource> datum_samples(std::shared_ptr<const RecordSource> records,
                                                  std::shared_ptr<const Transformer> transformer);

struct ImageListOptions {
  std::string root;  // put in front of every path
  bool color = true;
  int height = 0;  // of all pictures after resizing; 0: as they are
  int width = 0;
};

// The pictures that a text file lists, one line each: path, blank, label (a whole number). Nothing
// but the list is read until a picture is asked for.
std::shared_ptr<const SampleSource> image_list(const std::string& list,
                                               const ImageListOptions& options);

}  // namespace caffe
