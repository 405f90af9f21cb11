package com.yahoo.ml.jcaffe;

/** The values of a FloatBlob, one by one. */
public class FloatArray {
  private final float[] values;

  FloatArray(float[] values) {
    this.values = values;
  }

  public float get(int index) {
    return values[index];
  }

  public void set(int index, float value) {
    values[index] = value;
  }
}
