package com.yahoo.ml.jcaffe;

/** A float array, outermost axis first, row-major. What says yes or no in CaffeOnSpark 0.1 says yes, or throws. */
public class FloatBlob {
  private int[] shape = {0, 0, 0, 0};
  private float[] values = {};

  public boolean reshape(int num, int channels, int height, int width) {
    return reshape(new int[] {num, channels, height, width});
  }

  /** Gives it a shape; values survive where the count stays the same. */
  public boolean reshape(int[] shape) {
    long count = 1;
    for (int size : shape) {
      if (size < 0) {
        throw new IllegalArgumentException("a blob cannot have a dimension of " + size);
      }
      count = Math.multiplyExact(count, (long) size);
    }
    if (count != values.length) {
      values = new float[Math.toIntExact(count)];
    }
    this.shape = shape.clone();
    return true;
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
  public boolean set_cpu_data(float[] from) {
    if (from.length != values.length) {
      throw new IllegalArgumentException("a blob of " + values.length + " values cannot take " + from.length);
    }
    System.arraycopy(from, 0, values, 0, from.length);
    return true;
  }

  public boolean copyFrom(FloatBlob other) {
    shape = other.shape.clone();
    values = other.values.clone();
    return true;
  }

  /** Nothing has to be given back: the values are Java's. */
  public void deallocate() {}
}
