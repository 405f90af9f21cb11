package com.yahoo.ml.jcaffe;

/** The images of one batch. */
public class MatVector {
  private final Mat[] images;

  public MatVector(int size) {
    images = new Mat[size];
  }

  /** Returns the image that was there, or null. */
  public Mat put(int index, Mat image) {
    Mat before = images[index];
    images[index] = image;
    return before;
  }

  public Mat get(int index) {
    return images[index];
  }

  public int size() {
    return images.length;
  }

  public int channels(int index) {
    return images[index].channels();
  }

  public int height(int index) {
    return images[index].height();
  }

  public int width(int index) {
    return images[index].width();
  }

  public byte[] data(int index) {
    return images[index].data();
  }

  /** Nothing has to be given back: the bytes are Java's. */
  public void deallocate() {}
}
