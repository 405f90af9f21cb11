package com.yahoo.ml.caffe.engine;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Map;

/**
 * Makes pictures, or arrays of that form, into rows of a net's input: decoded, resized, cropped at the centre, without
 * mean, scaled. Extents are channels, height, width. Results are floats in native byte order in a direct buffer.
 */
public final class ImageTransformer extends Handle {
  private ImageTransformer(long address) {
    super(address);
  }

  /** `param` is a serialised TransformationParameter; the options are those of caffe_transformer_create. */
  public static ImageTransformer create(byte[] param, Map<String, String> options) throws IOException {
    Library.load();
    return new ImageTransformer(Native.transformerCreate(param, Options.text(options)));
  }

  /** The extents of the result for a record of these extents. */
  public int[] output(int[] extents) throws IOException {
    int[] out = new int[3];
    Native.transformerOutput(address(), extents, out);
    return out;
  }

  /** A JPEG, PNG, BMP, GIF or PNM file. `offset` counts floats. */
  public void encoded(byte[] file, int[] expected, ByteBuffer out, long offset) throws IOException {
    Native.transformerEncoded(address(), file, expected, out, offset);
  }

  /** height x width x channels bytes, blue before green before red. */
  public void pixels(byte[] bytes, int[] extents, int[] expected, ByteBuffer out, long offset) throws IOException {
    Native.transformerPixels(address(), bytes, extents, expected, out, offset);
  }

  /** channels x height x width numbers. */
  public void values(float[] values, int[] extents, int[] expected, ByteBuffer out, long offset) throws IOException {
    Native.transformerValues(address(), values, extents, expected, out, offset);
  }

  @Override
  void free(long address) {
    Native.transformerFree(address);
  }
}
