#include "core/random.h"
#include "layers/batch_layer.h"

namespace caffe {
namespace {

// Batches of the pictures that a text file lists, resized where new_height and new_width are given.
class ImageDataLayer : public BatchLayer<ImageDataLayer> {
 public:
  using BatchLayer::BatchLayer;

  void set_up(const Blobs&, const Blobs&) override {
    const ImageDataParameter& data = param().image_data_param();
    CAFFE_REQUIRE(
        !data.source().empty(),
        "image_data_param { source } is missing: a file with one path and label per line");
    CAFFE_REQUIRE(data.batch_size() > 0, "image_data_param { batch_size } is ", data.batch_size(),
                  ", expected at least 1");
    CAFFE_REQUIRE((data.new_height() > 0) == (data.new_width() > 0), "found new_height ",
                  data.new_height(), " and new_width ", data.new_width(),
                  " in image_data_param; give both or none");
    ImageListOptions options;
    options.root = data.root_folder();
    options.color = data.is_color();
    options.height = static_cast<int>(data.new_height());
    options.width = static_cast<int>(data.new_width());
    int64_t skipped = 0;
    if (data.rand_skip() > 0) {
      skipped = RandomStream(random_key(context().seed, draw_name()), 0).below(data.rand_skip());
    }
    start(image_list(data.source(), options), transformer(param().transform_param()),
          data.batch_size(), {.shuffle = data.shuffle()}, skipped);
  }
};

CAFFE_REGISTER_LAYER(ImageData, ImageDataLayer);

}  // namespace
}  // namespace caffe
