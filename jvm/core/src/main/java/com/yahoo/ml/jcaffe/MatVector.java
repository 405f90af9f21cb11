package com.yahoo.ml.jcaffe;

/** The images of one batch. */
public class MatVector {
  private final Mat[] images;

  public MatVector(int size) {
    images = new Mat[size];
  }

  public void put(int index, Mat image) {
    images[index] = image;
  }

  public Mat get(int index) {
    return images[index];
  }

  public int size() {
    return images.length;
  }
}
