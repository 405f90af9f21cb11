#pragma once

#include <optional>
#include <vector>

#include "collective/shared_rings.h"
#include "collective/transport.h"

namespace caffe {

// Finds the peers on this rank's own host, over the authenticated streams of `wiring`, and shares
// memory with each: [peer], empty for those elsewhere, in another network namespace, of another
// user, or without such memory. All ranks call it at the same time. Throws kCommunication when the
// wiring's timeout has passed or its wake descriptor is readable.
//
// The lower rank of a pair waits at a socket of this host whose random name it tells over the
// stream; the higher one passes its memory through it, with a second random number as proof.
std::vector<std::optional<SharedRings>> meet_host_mates(Wiring& wiring);

}  // namespace caffe
