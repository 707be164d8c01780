import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.Charset;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/**
 * Writes what Java's decoders make of every valid byte sequence; README.md beside it says how it is run.
 *
 * A run is [first sequence, text]: each further character belongs to the next sequence of the same length.
 * Of GB18030's sequences of four bytes a run is [first sequence, first code point, count]. "others" holds the names of all charsets that have no runs.
 */
public class JavaCharsets {
  static final String[] STATELESS = {
    "US-ASCII", "ISO-8859-1", "ISO-8859-2", "ISO-8859-3", "ISO-8859-4", "ISO-8859-5", "ISO-8859-6",
    "ISO-8859-7", "ISO-8859-8", "ISO-8859-9", "x-iso-8859-11", "ISO-8859-13", "ISO-8859-15", "ISO-8859-16",
    "x-windows-874", "windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254",
    "windows-1255", "windows-1256", "windows-1257", "windows-1258", "KOI8-R", "KOI8-U", "IBM437", "x-IBM737",
    "IBM775", "IBM850", "IBM852", "IBM855", "IBM857", "IBM00858", "IBM860", "IBM861", "IBM862", "IBM863",
    "IBM864", "IBM865", "IBM866", "IBM869", "TIS-620", "Shift_JIS", "windows-31j", "EUC-JP", "GB2312", "GBK",
    "x-mswin-936", "GB18030", "Big5", "x-windows-950", "Big5-HKSCS", "EUC-KR", "x-windows-949"
  };

  static final String[] UNICODE = {
    "UTF-8", "UTF-16", "UTF-16BE", "UTF-16LE", "UTF-32", "UTF-32BE", "UTF-32LE"
  };

  /** Bytes that bring ISO-2022-JP's decoder into each of its states. */
  static final String[] ISO_2022_JP_STATES = {
    "", "\033(B", "\033(J", "\033(I", "\033$@", "\033$B", "\016"
  };

  static final int INCOMPLETE = -1;
  static final int INVALID = -2;

  final CharsetDecoder decoder;
  final CharBuffer text = CharBuffer.allocate(16);
  final byte[] prefix;
  final List<String> runs = new ArrayList<>();

  JavaCharsets(Charset charset, byte[] prefix) {
    this.decoder = charset.newDecoder()
      .onMalformedInput(CodingErrorAction.REPORT)
      .onUnmappableCharacter(CodingErrorAction.REPORT);
    this.prefix = prefix;
  }

  /** Number of chars in `text` that a sequence becomes, or INCOMPLETE or INVALID. */
  int decode(byte[] sequence, int length) {
    decoder.reset();
    text.clear();
    byte[] bytes = new byte[prefix.length + length];
    System.arraycopy(prefix, 0, bytes, 0, prefix.length);
    System.arraycopy(sequence, 0, bytes, prefix.length, length);
    ByteBuffer input = ByteBuffer.wrap(bytes);
    CoderResult result = decoder.decode(input, text, false);
    if (result.isError()) return INVALID;
    if (input.hasRemaining()) return INCOMPLETE;
    text.flip();
    return text.length() == 0 ? INVALID : text.length();
  }

  int previous = -2;
  int previousLength = 0;
  String first = "";
  StringBuilder collected = new StringBuilder();

  void found(byte[] sequence, int length) {
    int number = 0;
    for (int i = 0; i < length; i++) number = number << 8 | sequence[i] & 0xff;
    String character = text.toString();
    if (character.codePointCount(0, character.length()) != 1) throw new AssertionError(character);
    if (number != previous + 1 || length != previousLength) {
      end();
      first = hex(prefix, prefix.length) + hex(sequence, length);
    }
    collected.append(character);
    previous = number;
    previousLength = length;
  }

  void end() {
    if (collected.length() > 0) runs.add("[\"" + first + "\"," + json(collected.toString()) + "]");
    collected.setLength(0);
  }

  void enumerate(byte[] sequence, int length, int maxLength) {
    // Java has letters for control characters in the states of kana, where JIS X 0201 has 0x21 to 0x5f.
    boolean isKana = List.of("\033(I", "\016").contains(new String(prefix, StandardCharsets.US_ASCII));
    for (int value = isKana ? 0x21 : 0; value < 256; value++) {
      sequence[length] = (byte) value;
      int decoded = decode(sequence, length + 1);
      if (decoded > 0) found(sequence, length + 1);
      else if (decoded == INCOMPLETE && length + 1 < maxLength) enumerate(sequence, length + 1, maxLength);
    }
  }

  List<String> all() {
    boolean hasFours = decoder.charset().name().equals("GB18030");
    enumerate(new byte[4], 0, hasFours ? 2 : 3);
    end();
    if (hasFours) enumerateFours();
    return runs;
  }

  void enumerateFours() {
    int start = 0, codePoint = -2, count = 0;
    for (int pointer = 0; pointer <= 126 * 10 * 126 * 10; pointer++) {
      byte[] sequence = four(pointer);
      int decoded = pointer < 126 * 10 * 126 * 10 ? decode(sequence, 4) : INVALID;
      int found = decoded > 0 ? text.toString().codePointAt(0) : -2;
      if (count > 0 && found == codePoint + count) { count++; continue; }
      if (count > 0) runs.add("[\"" + hex(four(start), 4) + "\"," + codePoint + "," + count + "]");
      start = pointer;
      codePoint = found;
      count = decoded > 0 ? 1 : 0;
    }
  }

  static byte[] four(int pointer) {
    return new byte[] {
      (byte) (0x81 + pointer / 12600), (byte) (0x30 + pointer / 1260 % 10),
      (byte) (0x81 + pointer / 10 % 126), (byte) (0x30 + pointer % 10)
    };
  }

  static String hex(byte[] bytes, int length) {
    StringBuilder hex = new StringBuilder();
    for (int i = 0; i < length; i++) hex.append(String.format("%02x", bytes[i]));
    return hex.toString();
  }

  static String json(String text) {
    StringBuilder json = new StringBuilder("\"");
    for (char c : text.toCharArray()) {
      if (c == '"' || c == '\\') json.append('\\').append(c);
      else if (c < 32 || c >= 0x7f && c < 0xa0 || c >= 0xe000 && c < 0xf900 || c >= 0xfe00)
        json.append(String.format("\\u%04x", (int) c));
      else json.append(c);
    }
    return json.append('"').toString();
  }

  static String aliases(Charset charset) {
    List<String> names = new ArrayList<>();
    for (String name : new TreeSet<>(charset.aliases())) names.add(json(name));
    return "[" + String.join(",", names) + "]";
  }

  static String entry(Charset charset, List<String> runs) {
    return json(charset.name()) + ": {\"aliases\":" + aliases(charset) + ",\"runs\":["
      + String.join(",\n", runs) + "]}";
  }

  /** Every code point but those of a mark and of halves of pairs; the runs of these charsets need no data. */
  static void checkUnicode(String name) throws CharacterCodingException {
    Charset charset = Charset.forName(name);
    for (int codePoint = 0; codePoint <= 0x10ffff; codePoint++) {
      if (codePoint == 0xfeff || codePoint == 0xfffe || codePoint >= 0xd800 && codePoint < 0xe000) continue;
      String character = new String(Character.toChars(codePoint));
      String decoded = charset.newDecoder().decode(charset.encode(character)).toString();
      if (!decoded.equals(character)) throw new AssertionError(name + " " + codePoint);
    }
  }

  public static void main(String[] arguments) throws Exception {
    List<String> entries = new ArrayList<>();
    TreeSet<String> others = new TreeSet<>(Charset.availableCharsets().keySet());
    for (String name : STATELESS) {
      Charset charset = Charset.forName(name);
      entries.add(entry(charset, new JavaCharsets(charset, new byte[0]).all()));
      others.remove(name);
    }
    List<String> runs = new ArrayList<>();
    for (String state : ISO_2022_JP_STATES) {
      runs.addAll(new JavaCharsets(Charset.forName("ISO-2022-JP"), state.getBytes("US-ASCII")).all());
    }
    entries.add(entry(Charset.forName("ISO-2022-JP"), runs));
    others.remove("ISO-2022-JP");
    for (String name : UNICODE) {
      checkUnicode(name);
      entries.add(entry(Charset.forName(name), List.of()));
      others.remove(name);
    }
    List<String> otherNames = new ArrayList<>();
    for (String name : others) otherNames.add(json(name) + ":" + aliases(Charset.forName(name)));
    entries.add("\"others\":{" + String.join(",\n", otherNames) + "}");
    System.out.write(("{" + String.join(",\n", entries) + "}\n").getBytes("UTF-8"));
    System.out.flush();
  }
}
