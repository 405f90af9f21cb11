#pragma once

#include "proto/caffe.pb.h"

namespace caffe {

// Whether a layer with these include and exclude rules belongs to a net in this state.
bool layer_included(const LayerParameter& layer, const NetState& state);
// The net with only the layers that belong to its state.
NetParameter filter_layers(const NetParameter& net);
// The net with a Split layer after every top that several layers, or a layer and a loss weight,
// use.
NetParameter insert_splits(const NetParameter& net);

}  // namespace caffe
