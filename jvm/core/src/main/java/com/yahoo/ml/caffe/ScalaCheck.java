package com.yahoo.ml.caffe;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;

/**
 * Whether the jar was compiled for the Scala that runs it. Written in Java and without a class of Scala's, so that it works
 * where the jar's other classes cannot be loaded: programs ask it before anything else.
 */
public final class ScalaCheck {
  private ScalaCheck() {}

  /** What to do where the jar is for another Scala than Spark's, in one sentence; else null. */
  public static String problem() {
    return problem(built(), running());
  }

  /** For the begin of a program's `main`: prints the sentence as an error of this program and ends it with code 1. */
  public static void orExit(String program) {
    String problem = problem();
    if (problem != null) {
      System.err.println(program + ": error: " + problem);
      System.err.flush();
      System.exit(1);
    }
  }

  /** @param built 2.13 or the like, of the jar; @param running 2.13.17 or the like, of Spark; either may be null: unknown */
  static String problem(String built, String running) {
    if (built == null || running == null || running.startsWith(built + ".")) {
      return null;
    }
    String wanted = running.replaceFirst("^(\\d+\\.\\d+).*", "$1");
    return "this caffeonspark jar is for Scala " + built + ", but Spark runs Scala " + wanted + ": take the jar whose name ends in _"
        + wanted + ".jar (`make profiles` puts those for other versions of Spark into dist/)";
  }

  private static String built() {
    try (InputStream version = ScalaCheck.class.getResourceAsStream("scala-version")) {
      return version == null ? null : new String(version.readAllBytes(), StandardCharsets.UTF_8).trim();
    } catch (IOException e) {
      return null;
    }
  }

  private static String running() {
    try {
      return (String) Class.forName("scala.util.Properties").getMethod("versionNumberString").invoke(null);
    } catch (ReflectiveOperationException | LinkageError e) {
      return null;
    }
  }
}
