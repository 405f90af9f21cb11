package com.yahoo.ml.caffe.engine;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The library files: out of the jar into a cache on this host, keyed by their content, so that all JVMs of a host share
 * one copy and an upgraded jar never meets old files.
 */
final class NativeFiles {
  /** System property: the folder of the cache; java.io.tmpdir by default. */
  static final String CACHE_PROPERTY = "caffe.native.cache";

  /** Other versions stay for so long after the last process that used them. */
  private static final Duration UNUSED_VERSION = Duration.ofDays(7);

  /** What the folders of this cache are called, beside whatever else lies in a folder that a user names. */
  private static final String OWN = "caffeonspark-natives-";

  private static final Logger LOG = LoggerFactory.getLogger(NativeFiles.class);

  /** The list of the libraries in the jar: "SHA-256 *name" a line. */
  static final String INDEX = "index";

  private NativeFiles() {}

  /** The folder that holds the libraries: `override` if set, else the cache, filled from the jar. */
  static Path locate(ClassLoader loader, String override) {
    String platform = platform(System.getProperty("os.name"), System.getProperty("os.arch"));
    if (override != null && !override.isBlank()) {
      Path folder = Paths.get(override).toAbsolutePath();
      if (!Files.isRegularFile(folder.resolve(Library.ENGINE))) {
        throw new UnsatisfiedLinkError(folder + " (system property " + Library.DIRECTORY_PROPERTY + ") holds no "
            + Library.ENGINE);
      }
      return folder;
    }
    try {
      return unpack(loader, platform, cacheRoot());
    } catch (IOException e) {
      throw unusable("cannot be unpacked: " + e + "; set the system property " + CACHE_PROPERTY
          + " to a folder that can be written");
    }
  }

  static String platform(String os, String arch) {
    boolean linux = os.toLowerCase().startsWith("linux");
    boolean x86 = arch.equals("amd64") || arch.equals("x86_64");
    if (!linux || !x86) {
      throw new UnsatisfiedLinkError("CaffeOnSpark's engine is built for Linux on x86_64; this JVM runs on " + os + " on "
          + arch);
    }
    return "linux-x86_64";
  }

  static Path cacheRoot() throws IOException {
    String set = System.getProperty(CACHE_PROPERTY);
    if (set != null && !set.isBlank()) {
      return Files.createDirectories(Paths.get(set).toAbsolutePath());
    }
    String user = System.getProperty("user.name", "user").replaceAll("[^A-Za-z0-9._-]", "_");
    Path root = Paths.get(System.getProperty("java.io.tmpdir"), "caffeonspark-" + user).toAbsolutePath();
    try {
      Files.createDirectory(root, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    } catch (FileAlreadyExistsException e) {
      // A folder that someone else made in the shared temporary folder could hold someone else's code.
      boolean mine = Files.isDirectory(root) && !Files.isSymbolicLink(root)
          && PosixFilePermissions.toString(Files.getPosixFilePermissions(root)).endsWith("------")
          && Files.getOwner(root).equals(Files.getOwner(Paths.get("/proc/self")));
      if (!mine) {
        throw new IOException(root + " exists, and is not a private folder of this user");
      }
    }
    return root;
  }

  static Path unpack(ClassLoader loader, String platform, Path root) throws IOException {
    String prefix = "native/" + platform + "/";
    Map<String, String> digests = readIndex(loader, prefix);
    Path target = root.resolve(OWN + key(digests));
    if (!Files.isDirectory(target)) {  // it is renamed into place complete
      unpackTo(loader, prefix, digests, root, target);
    }
    try {
      InUse.shared(target);  // as long as this process lives
      InUse.clean(root, OWN, UNUSED_VERSION);
    } catch (IOException e) {
      LOG.debug("{} is used without a mark: {}", target, e.toString());  // a cache that only its owner can write
    }
    return target;
  }

  private static void unpackTo(ClassLoader loader, String prefix, Map<String, String> digests, Path root, Path target)
      throws IOException {
    Path work = root.resolve(OWN + UUID.randomUUID() + ".part");
    Files.createDirectory(work);
    InUse mark = InUse.alone(work);
    try {
      for (Map.Entry<String, String> entry : digests.entrySet()) {
        copyChecked(loader, prefix + entry.getKey(), entry.getValue(), work.resolve(entry.getKey()));
      }
      try {
        Files.move(work, target, StandardCopyOption.ATOMIC_MOVE);
      } catch (IOException e) {
        if (!Files.isDirectory(target)) {  // else another JVM was faster
          throw e;
        }
      }
    } finally {
      mark.close();
      deleteFolder(work);
    }
  }

  private static Map<String, String> readIndex(ClassLoader loader, String prefix) throws IOException {
    Map<String, String> digests = new TreeMap<>();
    try (InputStream in = open(loader, prefix + INDEX)) {
      if (in == null) {
        throw unusable("is not in the jar: no " + prefix + Library.ENGINE + "; use a jar built with natives, or set -D"
            + Library.DIRECTORY_PROPERTY);
      }
      for (String line : new String(in.readAllBytes(), StandardCharsets.UTF_8).split("\\R")) {
        String[] parts = line.trim().split("\\s+\\*?", 2);
        if (parts.length == 2) {
          digests.put(parts[1], parts[0].toLowerCase());
        }
      }
    }
    return digests;
  }

  private static void copyChecked(ClassLoader loader, String resource, String digest, Path to) throws IOException {
    MessageDigest sha = sha256();
    try (InputStream in = open(loader, resource)) {
      if (in == null) {
        throw new IOException("the jar has no " + resource);
      }
      Files.copy(new DigestInputStream(in, sha), to);
    }
    String found = HexFormat.of().formatHex(sha.digest());
    if (!found.equals(digest)) {
      throw new IOException("the jar is damaged: " + resource + " has the checksum " + found + ", expected " + digest);
    }
  }

  private static InputStream open(ClassLoader loader, String resource) {
    return loader == null ? ClassLoader.getSystemResourceAsStream(resource) : loader.getResourceAsStream(resource);
  }

  private static String key(Map<String, String> digests) {
    byte[] hash = sha256().digest(digests.toString().getBytes(StandardCharsets.US_ASCII));
    return HexFormat.of().formatHex(hash, 0, 16);
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  static void load(Path folder, String name) {
    Path file = folder.resolve(name);
    try {
      System.load(file.toString());
    } catch (UnsatisfiedLinkError e) {
      String message = String.valueOf(e.getMessage());
      if (!message.contains("already loaded in another classloader")) {
        throw unusable("cannot be loaded: " + message);
      }
      loadCopy(file);
    }
  }

  /** The JVM binds a library file to one class loader, so another one gets a file of its own. */
  private static void loadCopy(Path file) {
    Path copy = file.resolveSibling("." + UUID.randomUUID() + "-" + file.getFileName());
    try {
      Files.copy(file, copy);
      System.load(copy.toString());
    } catch (IOException e) {
      throw new UncheckedIOException("cannot copy " + file + " for a second class loader", e);
    } finally {
      deleteQuietly(copy);  // Linux keeps the mapping
    }
  }

  private static void deleteFolder(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      return;
    }
    try (var files = Files.list(folder)) {
      files.forEach(NativeFiles::deleteQuietly);
    }
    Files.deleteIfExists(folder);
  }

  private static void deleteQuietly(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      file.toFile().deleteOnExit();
    }
  }

  private static UnsatisfiedLinkError unusable(String why) {
    return new UnsatisfiedLinkError("CaffeOnSpark's engine " + why + " (" + System.getProperty("os.name") + ", "
        + System.getProperty("os.arch") + ", Java " + System.getProperty("java.version") + ")");
  }
}
