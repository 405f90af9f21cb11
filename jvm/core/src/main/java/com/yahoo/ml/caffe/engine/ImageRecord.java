package com.yahoo.ml.caffe.engine;

/** One image: height x width x channels bytes, or an encoded file. */
public final class ImageRecord {
  public final String key;
  public final int label;
  public final int channels;
  public final int height;
  public final int width;
  public final boolean encoded;
  public final byte[] data;

  ImageRecord(String key, int label, int channels, int height, int width, boolean encoded, byte[] data) {
    this.key = key;
    this.label = label;
    this.channels = channels;
    this.height = height;
    this.width = width;
    this.encoded = encoded;
    this.data = data;
  }
}
