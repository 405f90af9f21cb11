package com.yahoo.ml.caffe.engine;

/** Arrays of float with a name each, in order. */
public final class NamedArrays {
  public final String[] names;
  public final float[][] values;

  NamedArrays(String[] names, float[][] values) {
    this.names = names;
    this.values = values;
  }
}
