"""What tests need of the processor."""

import numpy as np
import pytest
from caffe import supports_bf16

needs_bf16 = pytest.mark.skipif(not supports_bf16(), reason="this processor does not compute in bf16")


def are_bf16(values):
    """Which of the float32 numbers bfloat16 has, too: those whose lower half is empty."""
    return np.ascontiguousarray(values, np.float32).view(np.uint32) & 0xFFFF == 0
