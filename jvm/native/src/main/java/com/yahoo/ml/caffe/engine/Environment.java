package com.yahoo.ml.caffe.engine;

/** The environment of this process as native code sees it. In a library of its own, because OpenMP reads its
 * settings while it is loaded. */
final class Environment {
  private Environment() {}

  /** Sets a variable unless it is set already. */
  static native void setDefault(String name, String value);
}
