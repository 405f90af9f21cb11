package com.yahoo.ml.jcaffe;

import com.yahoo.ml.caffe.engine.Picture;
import java.io.IOException;
import java.util.Objects;

/** One image: height x width x channels bytes, or, with no dimensions, an encoded file. */
public class Mat {
  /** Flags of decode, by the names and values of OpenCV. */
  public static final int CV_LOAD_IMAGE_UNCHANGED = -1;
  public static final int CV_LOAD_IMAGE_GRAYSCALE = 0;
  public static final int CV_LOAD_IMAGE_COLOR = 1;
  public static final int CV_LOAD_IMAGE_ANYDEPTH = 2;
  public static final int CV_LOAD_IMAGE_ANYCOLOR = 4;

  private int channels;
  private int height;
  private int width;
  private byte[] data;

  public Mat(byte[] encoded) {
    this(0, 0, 0, encoded);
  }

  public Mat(int channels, int height, int width, byte[] data) {
    this.channels = channels;
    this.height = height;
    this.width = width;
    this.data = Objects.requireNonNull(data, "the bytes of an image");
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

  /**
   * Becomes the picture in the file that its data are: as stored, gray or in colour as the flags say, 8 bits a channel.
   *
   * @throws IllegalArgumentException if it is no file that can be decoded
   */
  public synchronized void decode(int flags) {
    take(() -> {
      if (flags < 0) {
        return Picture.decode(data, 0);
      }
      if ((flags & CV_LOAD_IMAGE_COLOR) != 0) {
        return Picture.decode(data, 3);
      }
      if ((flags & CV_LOAD_IMAGE_ANYCOLOR) == 0) {
        return Picture.decode(data, 1);
      }
      Picture stored = Picture.decode(data, 0);
      return stored.channels <= 3 ? stored : Picture.decode(data, 3);
    });
  }

  /**
   * Bilinear, as OpenCV does it.
   *
   * @throws IllegalArgumentException if a size is not positive, or the image is an encoded file still
   */
  public synchronized void resize(int height, int width) {
    if (isEncoded()) {
      throw new IllegalArgumentException("an encoded image cannot be resized; decode it first");
    }
    take(() -> Picture.resize(channels, this.height, this.width, data, height, width));
  }

  private interface Making {
    Picture make() throws IOException;
  }

  private void take(Making making) {
    try {
      Picture picture = making.make();
      channels = picture.channels;
      height = picture.height;
      width = picture.width;
      data = picture.pixels;
    } catch (IOException e) {
      throw new IllegalArgumentException(e.getMessage(), e);
    }
  }

  /** Nothing has to be given back: the bytes are Java's. */
  public void deallocate() {}
}
