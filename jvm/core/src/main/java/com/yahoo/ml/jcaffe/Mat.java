package com.yahoo.ml.jcaffe;

/** One image: height x width x channels bytes, or, with no dimensions, an encoded file. */
public class Mat {
  private final int channels;
  private final int height;
  private final int width;
  private final byte[] data;

  public Mat(byte[] encoded) {
    this(0, 0, 0, encoded);
  }

  public Mat(int channels, int height, int width, byte[] data) {
    this.channels = channels;
    this.height = height;
    this.width = width;
    this.data = data;
  }

  /** Is the data an encoded file, whose size is not known yet? */
  public boolean isEncoded() {
    return channels == 0;
  }

  public int channels() {
    return channels;
  }

  public int height() {
    return height;
  }

  public int width() {
    return width;
  }

  public byte[] data() {
    return data;
  }

  /** Nothing has to be given back: the bytes are Java's. */
  public void deallocate() {}
}
