#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "net/net.h"

namespace caffe {

// Fills a Net from its filtered, split-inserted parameters: layers, blobs, parameters, and which
// layers run backward. Lives only during construction.
class NetBuilder {
 public:
  // all_observed: whether every gradient that Caffe computes can be seen, also those that are of no
  // use.
  NetBuilder(Net* net, bool all_observed) : net_(*net), all_observed_(all_observed) {}
  void build();

 private:
  void add_layer(int index);
  bool connect_bottom(int layer, int bottom);
  void connect_top(int layer, int top);
  void connect_automatic_tops(int layer);
  int add_blob(const std::string& name);
  void set_up_layer(int index);
  void set_loss_weights(int index);
  bool add_parameters(int index);
  void add_parameter(int layer, int index, const ParamSpec& spec);
  void share_parameter(int layer, int index, const ParamSpec& spec, int owner);
  void prune_backward();
  void force_backward();
  void set_outputs();

  Net& net_;
  const bool all_observed_;
  std::set<std::string> unread_;  // blobs no layer has read yet
  std::vector<bool> blob_needs_backward_;
  std::map<std::string, int> named_parameters_;
  std::vector<bool> has_lr_mult_;
  std::vector<bool> has_decay_mult_;
};

// The blobs behind indices.
Blobs blobs_at(const std::vector<std::shared_ptr<Blob>>& blobs, const std::vector<int>& ids);

}  // namespace caffe
