package com.yahoo.ml.caffe.engine;

import java.util.Map;

/** The text form of options: one "key=value" a line. */
final class Options {
  private Options() {}

  static String text(Map<String, String> options) {
    StringBuilder out = new StringBuilder();
    for (Map.Entry<String, String> option : options.entrySet()) {
      if (option.getValue().indexOf('\n') >= 0) {
        throw new IllegalArgumentException("the value of " + option.getKey() + " has a line break: "
            + option.getValue().replace('\n', ' '));
      }
      out.append(option.getKey()).append('=').append(option.getValue()).append('\n');
    }
    return out.toString();
  }
}
