package com.yahoo.ml.caffe.engine;

import com.yahoo.ml.caffe.CaffeException;

/** The call ended because someone asked it to. */
public class CancelledException extends CaffeException {
  private static final long serialVersionUID = 1L;

  public CancelledException(String message) {
    super(message);
  }
}
