#include "net/upgrade.h"

#include <map>
#include <string>
#include <vector>

#include "core/log.h"

namespace caffe {
namespace {

const std::map<V1LayerParameter::LayerType, const char*>& v1_types() {
  static const std::map<V1LayerParameter::LayerType, const char*> types = {
      {V1LayerParameter::NONE, ""},
      {V1LayerParameter::ABSVAL, "AbsVal"},
      {V1LayerParameter::ACCURACY, "Accuracy"},
      {V1LayerParameter::ARGMAX, "ArgMax"},
      {V1LayerParameter::BNLL, "BNLL"},
      {V1LayerParameter::CONCAT, "Concat"},
      {V1LayerParameter::CONTRASTIVE_LOSS, "ContrastiveLoss"},
      {V1LayerParameter::CONVOLUTION, "Convolution"},
      {V1LayerParameter::DATA, "Data"},
      {V1LayerParameter::DECONVOLUTION, "Deconvolution"},
      {V1LayerParameter::DROPOUT, "Dropout"},
      {V1LayerParameter::DUMMY_DATA, "DummyData"},
      {V1LayerParameter::EUCLIDEAN_LOSS, "EuclideanLoss"},
      {V1LayerParameter::ELTWISE, "Eltwise"},
      {V1LayerParameter::EXP, "Exp"},
      {V1LayerParameter::FLATTEN, "Flatten"},
      {V1LayerParameter::HDF5_DATA, "HDF5Data"},
      {V1LayerParameter::HDF5_OUTPUT, "HDF5Output"},
      {V1LayerParameter::HINGE_LOSS, "HingeLoss"},
      {V1LayerParameter::IM2COL, "Im2col"},
      {V1LayerParameter::IMAGE_DATA, "ImageData"},
      {V1LayerParameter::INFOGAIN_LOSS, "InfogainLoss"},
      {V1LayerParameter::INNER_PRODUCT, "InnerProduct"},
      {V1LayerParameter::LRN, "LRN"},
      {V1LayerParameter::MEMORY_DATA, "MemoryData"},
      {V1LayerParameter::MULTINOMIAL_LOGISTIC_LOSS, "MultinomialLogisticLoss"},
      {V1LayerParameter::MVN, "MVN"},
      {V1LayerParameter::POOLING, "Pooling"},
      {V1LayerParameter::POWER, "Power"},
      {V1LayerParameter::RELU, "ReLU"},
      {V1LayerParameter::SIGMOID, "Sigmoid"},
      {V1LayerParameter::SIGMOID_CROSS_ENTROPY_LOSS, "SigmoidCrossEntropyLoss"},
      {V1LayerParameter::SILENCE, "Silence"},
      {V1LayerParameter::SOFTMAX, "Softmax"},
      {V1LayerParameter::SOFTMAX_LOSS, "SoftmaxWithLoss"},
      {V1LayerParameter::SPLIT, "Split"},
      {V1LayerParameter::SLICE, "Slice"},
      {V1LayerParameter::TANH, "TanH"},
      {V1LayerParameter::WINDOW_DATA, "WindowData"},
      {V1LayerParameter::THRESHOLD, "Threshold"},
  };
  return types;
}

const std::map<std::string, V1LayerParameter::LayerType>& v0_types() {
  static const std::map<std::string, V1LayerParameter::LayerType> types = {
      {"accuracy", V1LayerParameter::ACCURACY},
      {"bnll", V1LayerParameter::BNLL},
      {"concat", V1LayerParameter::CONCAT},
      {"conv", V1LayerParameter::CONVOLUTION},
      {"data", V1LayerParameter::DATA},
      {"dropout", V1LayerParameter::DROPOUT},
      {"euclidean_loss", V1LayerParameter::EUCLIDEAN_LOSS},
      {"flatten", V1LayerParameter::FLATTEN},
      {"hdf5_data", V1LayerParameter::HDF5_DATA},
      {"hdf5_output", V1LayerParameter::HDF5_OUTPUT},
      {"im2col", V1LayerParameter::IM2COL},
      {"images", V1LayerParameter::IMAGE_DATA},
      {"infogain_loss", V1LayerParameter::INFOGAIN_LOSS},
      {"innerproduct", V1LayerParameter::INNER_PRODUCT},
      {"lrn", V1LayerParameter::LRN},
      {"multinomial_logistic_loss", V1LayerParameter::MULTINOMIAL_LOGISTIC_LOSS},
      {"pool", V1LayerParameter::POOLING},
      {"relu", V1LayerParameter::RELU},
      {"sigmoid", V1LayerParameter::SIGMOID},
      {"softmax", V1LayerParameter::SOFTMAX},
      {"softmax_loss", V1LayerParameter::SOFTMAX_LOSS},
      {"split", V1LayerParameter::SPLIT},
      {"tanh", V1LayerParameter::TANH},
      {"window_data", V1LayerParameter::WINDOW_DATA},
  };
  return types;
}

// Caffe says so and goes on without the field.
void misplaced(const std::string& file, const V0LayerParameter& v0, const char* field) {
  CAFFE_LOG_WARNING(file, ": layer ", v0.name(), " of the old type '", v0.type(), "' has no field ",
                    field, "; it is left out");
}

// ---- V0 ----

void upgrade_v0_learned(const std::string& file, const V0LayerParameter& v0, V1LayerParameter* v1) {
  const bool conv = v0.type() == "conv";
  const bool product = v0.type() == "innerproduct";
  if (!conv && !product) {
    if (v0.has_num_output()) misplaced(file, v0, "num_output");
    if (v0.has_biasterm()) misplaced(file, v0, "biasterm");
    if (v0.has_weight_filler() || v0.has_bias_filler())
      misplaced(file, v0, "weight_filler or bias_filler");
    return;
  }
  const auto copy = [&](auto* param) {
    if (v0.has_num_output()) param->set_num_output(v0.num_output());
    if (v0.has_biasterm()) param->set_bias_term(v0.biasterm());
    if (v0.has_weight_filler()) *param->mutable_weight_filler() = v0.weight_filler();
    if (v0.has_bias_filler()) *param->mutable_bias_filler() = v0.bias_filler();
  };
  if (conv) {
    copy(v1->mutable_convolution_param());
  } else {
    copy(v1->mutable_inner_product_param());
  }
}

void upgrade_v0_windows(const std::string& file, const V0LayerParameter& v0, V1LayerParameter* v1) {
  const bool conv = v0.type() == "conv";
  const bool pool = v0.type() == "pool";
  if (v0.has_pad() || v0.has_kernelsize() || v0.has_stride()) {
    if (!conv && !pool) {
      misplaced(file, v0, "pad, kernelsize or stride");
    } else if (conv) {
      ConvolutionParameter* param = v1->mutable_convolution_param();
      if (v0.has_pad()) param->add_pad(v0.pad());
      if (v0.has_kernelsize()) param->add_kernel_size(v0.kernelsize());
      if (v0.has_stride()) param->add_stride(v0.stride());
    } else {
      PoolingParameter* param = v1->mutable_pooling_param();
      if (v0.has_pad()) param->set_pad(v0.pad());
      if (v0.has_kernelsize()) param->set_kernel_size(v0.kernelsize());
      if (v0.has_stride()) param->set_stride(v0.stride());
    }
  }
  if (v0.has_group() && !conv) misplaced(file, v0, "group");
  if (v0.has_group() && conv) v1->mutable_convolution_param()->set_group(v0.group());
  if (v0.has_pool() && !pool) misplaced(file, v0, "pool");
  if (v0.has_pool() && pool)
    v1->mutable_pooling_param()->set_pool(static_cast<PoolingParameter::PoolMethod>(v0.pool()));
}

void upgrade_v0_others(const std::string& file, const V0LayerParameter& v0, V1LayerParameter* v1) {
  const std::string& type = v0.type();
  if (v0.has_dropout_ratio() && type != "dropout") misplaced(file, v0, "dropout_ratio");
  if (v0.has_dropout_ratio() && type == "dropout")
    v1->mutable_dropout_param()->set_dropout_ratio(v0.dropout_ratio());
  const bool normalises = v0.has_local_size() || v0.has_alpha() || v0.has_beta() || v0.has_k();
  if (normalises && type != "lrn") misplaced(file, v0, "local_size, alpha, beta or k");
  if (normalises && type == "lrn") {
    LRNParameter* param = v1->mutable_lrn_param();
    if (v0.has_local_size()) param->set_local_size(v0.local_size());
    if (v0.has_alpha()) param->set_alpha(v0.alpha());
    if (v0.has_beta()) param->set_beta(v0.beta());
    if (v0.has_k()) param->set_k(v0.k());
  }
  if (v0.has_concat_dim() && type != "concat") misplaced(file, v0, "concat_dim");
  if (v0.has_concat_dim() && type == "concat")
    v1->mutable_concat_param()->set_concat_dim(v0.concat_dim());
}

void upgrade_v0_data(const std::string& file, const V0LayerParameter& v0, V1LayerParameter* v1) {
  const std::string& type = v0.type();
  if (v0.has_source()) {
    if (type == "data")
      v1->mutable_data_param()->set_source(v0.source());
    else if (type == "hdf5_data")
      v1->mutable_hdf5_data_param()->set_source(v0.source());
    else if (type == "images")
      v1->mutable_image_data_param()->set_source(v0.source());
    else if (type == "window_data")
      v1->mutable_window_data_param()->set_source(v0.source());
    else if (type == "infogain_loss")
      v1->mutable_infogain_loss_param()->set_source(v0.source());
    else
      misplaced(file, v0, "source");
  }
  if (v0.has_batchsize()) {
    if (type == "data")
      v1->mutable_data_param()->set_batch_size(v0.batchsize());
    else if (type == "hdf5_data")
      v1->mutable_hdf5_data_param()->set_batch_size(v0.batchsize());
    else if (type == "images")
      v1->mutable_image_data_param()->set_batch_size(v0.batchsize());
    else if (type == "window_data")
      v1->mutable_window_data_param()->set_batch_size(v0.batchsize());
    else
      misplaced(file, v0, "batchsize");
  }
  if (v0.has_rand_skip()) {
    if (type == "data")
      v1->mutable_data_param()->set_rand_skip(v0.rand_skip());
    else if (type == "images")
      v1->mutable_image_data_param()->set_rand_skip(v0.rand_skip());
    else
      misplaced(file, v0, "rand_skip");
  }
  if (v0.has_scale()) v1->mutable_transform_param()->set_scale(v0.scale());
  if (v0.has_meanfile()) v1->mutable_transform_param()->set_mean_file(v0.meanfile());
  if (v0.has_cropsize()) v1->mutable_transform_param()->set_crop_size(v0.cropsize());
  if (v0.has_mirror()) v1->mutable_transform_param()->set_mirror(v0.mirror());
  const bool images = v0.has_shuffle_images() || v0.has_new_height() || v0.has_new_width();
  if (images && type != "images") misplaced(file, v0, "shuffle_images, new_height or new_width");
  if (images && type == "images") {
    ImageDataParameter* param = v1->mutable_image_data_param();
    if (v0.has_shuffle_images()) param->set_shuffle(v0.shuffle_images());
    if (v0.has_new_height()) param->set_new_height(static_cast<uint32_t>(v0.new_height()));
    if (v0.has_new_width()) param->set_new_width(static_cast<uint32_t>(v0.new_width()));
  }
  const bool windows = v0.has_det_fg_threshold() || v0.has_det_bg_threshold() ||
                       v0.has_det_fg_fraction() || v0.has_det_context_pad() ||
                       v0.has_det_crop_mode();
  if (windows && type != "window_data") misplaced(file, v0, "det_*");
  if (windows && type == "window_data") {
    WindowDataParameter* param = v1->mutable_window_data_param();
    if (v0.has_det_fg_threshold()) param->set_fg_threshold(v0.det_fg_threshold());
    if (v0.has_det_bg_threshold()) param->set_bg_threshold(v0.det_bg_threshold());
    if (v0.has_det_fg_fraction()) param->set_fg_fraction(v0.det_fg_fraction());
    if (v0.has_det_context_pad()) param->set_context_pad(v0.det_context_pad());
    if (v0.has_det_crop_mode()) param->set_crop_mode(v0.det_crop_mode());
  }
  if (v0.has_hdf5_output_param() && type != "hdf5_output") misplaced(file, v0, "hdf5_output_param");
  if (v0.has_hdf5_output_param() && type == "hdf5_output")
    *v1->mutable_hdf5_output_param() = v0.hdf5_output_param();
}

// A padding layer of old becomes the pad of the one convolution or pooling layer that reads it.
NetParameter merge_padding(const std::string& file, const NetParameter& net) {
  NetParameter merged = net;
  merged.clear_layers();
  std::map<std::string, const V1LayerParameter*> producer;
  for (const V1LayerParameter& layer : net.layers()) {
    if (layer.layer().type() != "padding") *merged.add_layers() = layer;
    for (int i = 0; i < layer.bottom_size(); ++i) {
      const auto source = producer.find(layer.bottom(i));
      if (source == producer.end() || source->second->layer().type() != "padding") continue;
      const V1LayerParameter& padding = *source->second;
      CAFFE_REQUIRE((layer.layer().type() == "conv" || layer.layer().type() == "pool") &&
                        layer.bottom_size() == 1 && padding.bottom_size() == 1,
                    file, ": padding layer ", padding.layer().name(),
                    " must feed one conv or pool layer, not ", layer.layer().name());
      V1LayerParameter* target = merged.mutable_layers(merged.layers_size() - 1);
      target->mutable_layer()->set_pad(padding.layer().pad());
      target->set_bottom(0, padding.bottom(0));
    }
    for (const std::string& top : layer.top()) producer[top] = &layer;
  }
  return merged;
}

void upgrade_v0(const std::string& file, NetParameter* net) {
  NetParameter merged = merge_padding(file, *net);
  for (V1LayerParameter& layer : *merged.mutable_layers()) {
    if (!layer.has_layer()) continue;
    const V0LayerParameter v0 = layer.layer();
    layer.clear_layer();
    if (v0.has_name()) layer.set_name(v0.name());
    const auto type = v0_types().find(v0.type());
    CAFFE_REQUIRE(type != v0_types().end(), "Unknown layer type: ", v0.type(), " (of 2013, in ",
                  file, ", layer ", v0.name(), ")");
    layer.set_type(type->second);
    *layer.mutable_blobs() = v0.blobs();
    *layer.mutable_blobs_lr() = v0.blobs_lr();
    *layer.mutable_weight_decay() = v0.weight_decay();
    upgrade_v0_learned(file, v0, &layer);
    upgrade_v0_windows(file, v0, &layer);
    upgrade_v0_others(file, v0, &layer);
    upgrade_v0_data(file, v0, &layer);
  }
  *net = std::move(merged);
}

// ---- V1 ----

// The parameter messages have the same names and types in both versions.
void copy_parameters(const V1LayerParameter& v1, LayerParameter* layer) {
  const auto* from = v1.GetReflection();
  const auto* to = layer->GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  from->ListFields(v1, &fields);
  for (const auto* field : fields) {
    if (field->is_repeated() ||
        field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE)
      continue;
    const auto* target = layer->GetDescriptor()->FindFieldByName(field->name());
    if (target != nullptr && target->message_type() == field->message_type()) {
      to->MutableMessage(layer, target)->CopyFrom(from->GetMessage(v1, field));
    }
  }
}

void upgrade_v1_layer(const std::string& file, const V1LayerParameter& v1, LayerParameter* layer) {
  *layer->mutable_bottom() = v1.bottom();
  *layer->mutable_top() = v1.top();
  if (v1.has_name()) layer->set_name(v1.name());
  *layer->mutable_include() = v1.include();
  *layer->mutable_exclude() = v1.exclude();
  if (v1.has_type()) layer->set_type(v1_types().at(v1.type()));
  *layer->mutable_blobs() = v1.blobs();
  const auto spec = [&](int i) {
    while (layer->param_size() <= i) layer->add_param();
    return layer->mutable_param(i);
  };
  for (int i = 0; i < v1.param_size(); ++i) spec(i)->set_name(v1.param(i));
  for (int i = 0; i < v1.blob_share_mode_size(); ++i) {
    spec(i)->set_share_mode(static_cast<ParamSpec::DimCheckMode>(v1.blob_share_mode(i)));
  }
  for (int i = 0; i < v1.blobs_lr_size(); ++i) spec(i)->set_lr_mult(v1.blobs_lr(i));
  for (int i = 0; i < v1.weight_decay_size(); ++i) spec(i)->set_decay_mult(v1.weight_decay(i));
  *layer->mutable_loss_weight() = v1.loss_weight();
  copy_parameters(v1, layer);
  CAFFE_REQUIRE(!v1.has_layer(), file, ": layer ", v1.layer().name(),
                " mixes the forms of 2013 and 2014");
}

void upgrade_v1(const std::string& file, NetParameter* net) {
  CAFFE_REQUIRE(
      net->layer_size() == 0, file,
      ": both 'layer' and 'layers' are used; write all layers as layer { type: \"Name\" ... }");
  for (const V1LayerParameter& v1 : net->layers()) upgrade_v1_layer(file, v1, net->add_layer());
  net->clear_layers();
}

// ---- fields that moved ----

template <typename DataParam>
bool has_transformation(const DataParam& data) {
  return data.has_scale() || data.has_mean_file() || data.has_crop_size() || data.has_mirror();
}

template <typename DataParam>
void move_transformation(DataParam* data, TransformationParameter* transform) {
  if (data->has_scale()) transform->set_scale(data->scale()), data->clear_scale();
  if (data->has_mean_file()) transform->set_mean_file(data->mean_file()), data->clear_mean_file();
  if (data->has_crop_size()) transform->set_crop_size(data->crop_size()), data->clear_crop_size();
  if (data->has_mirror()) transform->set_mirror(data->mirror()), data->clear_mirror();
}

// Of 2014's layers alone: in a `layer` these fields never had a meaning.
bool move_transformations(NetParameter* net) {
  bool needed = false;
  for (const V1LayerParameter& layer : net->layers()) {
    needed |= layer.type() == V1LayerParameter::DATA && has_transformation(layer.data_param());
    needed |= layer.type() == V1LayerParameter::IMAGE_DATA &&
              has_transformation(layer.image_data_param());
    needed |= layer.type() == V1LayerParameter::WINDOW_DATA &&
              has_transformation(layer.window_data_param());
  }
  if (!needed) return false;
  for (V1LayerParameter& layer : *net->mutable_layers()) {
    // As in Caffe all data layers then get both messages.
    if (layer.type() == V1LayerParameter::DATA)
      move_transformation(layer.mutable_data_param(), layer.mutable_transform_param());
    if (layer.type() == V1LayerParameter::IMAGE_DATA)
      move_transformation(layer.mutable_image_data_param(), layer.mutable_transform_param());
    if (layer.type() == V1LayerParameter::WINDOW_DATA)
      move_transformation(layer.mutable_window_data_param(), layer.mutable_transform_param());
  }
  return true;
}

void warn_of_transformations(const std::string& file, const LayerParameter& layer) {
  const bool unread = has_transformation(layer.data_param()) ||
                      has_transformation(layer.image_data_param()) ||
                      has_transformation(layer.window_data_param());
  if (!unread) return;
  CAFFE_LOG_WARNING(file, ": layer ", layer.name(),
                    ": scale, mean_file, crop_size and mirror are read in transform_param; in the ",
                    "parameters of a data layer they mean nothing, as in Caffe");
}

void upgrade_input_fields(const std::string& file, NetParameter* net) {
  const bool by_shape = net->input_shape_size() > 0;
  CAFFE_REQUIRE(by_shape
                    ? net->input_shape_size() == net->input_size() && net->input_dim_size() == 0
                    : net->input_dim_size() == 4 * net->input_size(),
                file, ": ", net->input_size(),
                " inputs need as many input_shape, or four times as many input_dim");
  if (net->input_size() > 0) {
    LayerParameter input;
    input.set_name("input");
    input.set_type("Input");
    *input.mutable_top() = net->input();
    for (int i = 0; i < net->input_size(); ++i) {
      BlobShape* shape = input.mutable_input_param()->add_shape();
      if (by_shape) {
        *shape = net->input_shape(i);
      } else {
        for (int k = 0; k < 4; ++k) shape->add_dim(net->input_dim(4 * i + k));
      }
    }
    google::protobuf::RepeatedPtrField<LayerParameter> layers;
    *layers.Add() = std::move(input);
    layers.MergeFrom(net->layer());
    net->mutable_layer()->Swap(&layers);
  }
  net->clear_input();
  net->clear_input_shape();
  net->clear_input_dim();
}

// Three parameter specs on a BatchNorm layer were once how its statistics were kept from being
// learned.
bool is_old_batch_norm(const LayerParameter& layer) {
  if (layer.type() != "BatchNorm" || layer.param_size() != 3) return false;
  for (const ParamSpec& spec : layer.param()) {
    if (!spec.has_lr_mult() || spec.lr_mult() != 0 || !spec.has_decay_mult() ||
        spec.decay_mult() != 0)
      return true;
  }
  return false;
}

void note(const std::string& file, const char* what) {
  CAFFE_LOG_INFO("Upgraded ", file, " from ", what,
                 "; upgrade_net_proto_text rewrites the file for good");
}

}  // namespace

void upgrade_net(const std::string& file, NetParameter* net) {
  bool v0 = false;
  for (const V1LayerParameter& layer : net->layers()) v0 |= layer.has_layer();
  if (v0) {
    upgrade_v0(file, net);
    note(file, "V0LayerParameter");
  }
  for (const LayerParameter& layer : net->layer()) warn_of_transformations(file, layer);
  if (move_transformations(net)) note(file, "transformation fields inside data parameters");
  if (net->layers_size() > 0) {
    upgrade_v1(file, net);
    note(file, "V1LayerParameter");
  }
  if (net->input_size() > 0 || net->input_shape_size() > 0 || net->input_dim_size() > 0) {
    upgrade_input_fields(file, net);
    note(file, "input fields");
  }
  for (LayerParameter& layer : *net->mutable_layer()) {
    if (!is_old_batch_norm(layer)) continue;
    for (ParamSpec& spec : *layer.mutable_param()) {
      spec.set_lr_mult(0);
      spec.set_decay_mult(0);
    }
    note(file, "BatchNorm parameter specs");
  }
}

void upgrade_solver(const std::string& file, SolverParameter* solver) {
  if (solver->has_solver_type()) {
    CAFFE_REQUIRE(!solver->has_type(), file, ": both solver_type and type are given; keep type");
    static const char* const kTypes[] = {"SGD",     "Nesterov", "AdaGrad",
                                         "RMSProp", "AdaDelta", "Adam"};
    solver->set_type(kTypes[solver->solver_type()]);
    solver->clear_solver_type();
    note(file, "solver_type");
  }
  if (solver->has_net_param()) upgrade_net(file + " net_param", solver->mutable_net_param());
  if (solver->has_train_net_param())
    upgrade_net(file + " train_net_param", solver->mutable_train_net_param());
  for (NetParameter& net : *solver->mutable_test_net_param())
    upgrade_net(file + " test_net_param", &net);
}

}  // namespace caffe
