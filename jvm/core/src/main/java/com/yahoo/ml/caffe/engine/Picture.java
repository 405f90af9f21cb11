package com.yahoo.ml.caffe.engine;

import java.io.IOException;

/** A decoded picture: height x width x channels bytes, blue before green before red. */
public final class Picture {
  public final int channels;
  public final int height;
  public final int width;
  public final byte[] pixels;

  private Picture(int[] extents, byte[] pixels) {
    this.channels = extents[0];
    this.height = extents[1];
    this.width = extents[2];
    this.pixels = pixels;
  }

  /** From a JPEG, PNG, BMP, GIF or PNM file. `channels` is 1, 3, or 0 for as many as are stored. */
  public static Picture decode(byte[] file, int channels) throws IOException {
    Library.load();
    int[] extents = new int[3];
    return new Picture(extents, Native.imageDecode(file, channels, extents));
  }

  /** Bilinear. */
  public static Picture resize(int channels, int height, int width, byte[] pixels, int toHeight, int toWidth)
      throws IOException {
    Library.load();
    int[] extents = {channels, height, width};
    return new Picture(extents, Native.imageResize(pixels, extents, toHeight, toWidth));
  }
}
