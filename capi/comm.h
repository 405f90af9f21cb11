#pragma once

#include <memory>

#include "capi/caffe_c.h"
#include "solvers/exchange.h"

namespace caffe::capi {

// The solver's view of a connected group, which must outlive it.
std::unique_ptr<Exchange> make_exchange(caffe_comm& comm);

}  // namespace caffe::capi
