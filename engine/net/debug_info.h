#pragma once

namespace caffe {

class Net;

// The lines that debug_info asks for, in Caffe's form: mean magnitudes of a layer's tops and
// parameters after its forward, of the gradients of its bottoms and parameters after its backward,
// and norms over all parameters after a whole backward pass.
void log_forward(const Net& net, int layer);
void log_backward(const Net& net, int layer);
void log_norms(const Net& net);

}  // namespace caffe
