#pragma once

#include <cstddef>

namespace caffe {

// Memory that goes back to the system at once when it is freed; where there is much of it, in large
// pages, which cost fewer faults and misses of address look-ups.
inline constexpr size_t kLargePage = size_t{2} << 20;

// Begins at a large page, and is zero; null where there is none.
void* map_pages(size_t bytes);
void unmap_pages(void* memory, size_t bytes);

// Has the system find mapped memory now, in place of when it is touched. That is faster where large
// pages are slow to come: where free memory is in small pieces, or a virtual machine's host has
// taken it back and must find each large page again as hundreds of small ones. Then small pages are
// taken, and the system makes large ones of them while the program runs. `memory` begins at a large
// page. `patience`: processor seconds that one may take; to make it zero takes a tenth of that.
void take_pages(void* memory, size_t bytes, double patience = 1e-3);

}  // namespace caffe
