#pragma once

// In front of a function whose loop is hot: it is compiled for several instruction sets, and the
// best that the processor has is taken when the library is loaded. The whole loop must be inside,
// without calls that are not inlined. Results do not depend on the choice in files that are
// compiled with -ffp-contract=off: otherwise a product and a sum may become one instruction on
// some.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define CAFFE_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CAFFE_CLONES
#endif
