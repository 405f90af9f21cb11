package com.yahoo.ml.caffe.engine;

import com.yahoo.ml.caffe.CaffeException;

/** Another worker is gone, late, or not who it should be. */
public class CommunicationException extends CaffeException {
  private static final long serialVersionUID = 1L;

  public CommunicationException(String message) {
    super(message);
  }
}
