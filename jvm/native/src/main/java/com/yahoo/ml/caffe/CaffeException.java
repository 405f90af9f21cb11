package com.yahoo.ml.caffe;

/** The engine could not go on: a worker was lost or late, the call was cancelled, or the engine has a defect. */
public class CaffeException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public CaffeException(String message) {
    super(message);
  }

  public CaffeException(String message, Throwable cause) {
    super(message, cause);
  }
}
