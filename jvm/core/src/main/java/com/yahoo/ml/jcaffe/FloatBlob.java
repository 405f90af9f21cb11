package com.yahoo.ml.jcaffe;

import java.util.Arrays;

/** A float array of up to four dimensions, outermost first, row-major. */
public class FloatBlob {
  private int[] shape = {0, 0, 0, 0};
  private float[] values = {};

  /** Gives it a shape; values survive where the count stays the same. */
  public void reshape(int num, int channels, int height, int width) {
    for (int size : new int[] {num, channels, height, width}) {
      if (size < 0) {
        throw new IllegalArgumentException("a blob cannot have a dimension of " + size);
      }
    }
    int count = Math.toIntExact(Math.multiplyExact((long) num * channels, (long) height * width));
    shape = new int[] {num, channels, height, width};
    if (count != values.length) {
      values = new float[count];
    }
  }

  public int count() {
    return values.length;
  }

  public int[] shape() {
    return shape.clone();
  }

  /** The values themselves, not a copy. */
  public float[] data() {
    return values;
  }

  public void copyFrom(FloatBlob other) {
    shape = other.shape.clone();
    values = Arrays.copyOf(other.values, other.values.length);
  }
}
