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

  /** The same by single values, as the sources of CaffeOnSpark 0.1 write them; `data` is quicker. */
  public FloatArray cpu_data() {
    return new FloatArray(values);
  }

  /** Takes `count` values. */
  public void set_cpu_data(float[] from) {
    if (from.length != values.length) {
      throw new IllegalArgumentException("a blob of " + values.length + " values cannot take " + from.length);
    }
    System.arraycopy(from, 0, values, 0, from.length);
  }

  public void copyFrom(FloatBlob other) {
    shape = other.shape.clone();
    values = Arrays.copyOf(other.values, other.values.length);
  }

  /** Nothing has to be given back: the values are Java's. */
  public void deallocate() {}
}
