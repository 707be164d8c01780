/**
 * Names of charsets, with the meaning they have in Java.
 * @module
 */
import { editDistance } from "../../distance.ts";
import { StreamError } from "../../protocol.ts";

/** Every charset that can be read, followed by its other names; docs/charsets.md tells how they were compared. */
const NAMES = [
  "UTF-8 unicode-1-1-utf-8",
  "UTF-16 unicode UnicodeBig",
  "UTF-16BE UnicodeBigUnmarked ISO-10646-UCS-2",
  "UTF-16LE UnicodeLittleUnmarked",
  "UTF-32",
  "UTF-32BE",
  "UTF-32LE",
  "US-ASCII ASCII ascii7 ANSI_X3.4-1968 ANSI_X3.4-1986 ISO646-US ISO_646.irv:1983 ISO_646.irv:1991 iso-ir-6 cp367 IBM367 csASCII us 646",
  "ISO-8859-1 8859_1 ISO_8859-1:1987 latin1 l1 csISOLatin1 iso-ir-100 cp819 IBM819 819",
  "ISO-8859-2 8859_2 ISO_8859-2:1987 latin2 l2 csISOLatin2 iso-ir-101 cp912 IBM912 912",
  "ISO-8859-3 8859_3 ISO_8859-3:1988 latin3 l3 csISOLatin3 iso-ir-109 cp913 IBM913 913",
  "ISO-8859-4 8859_4 ISO_8859-4:1988 latin4 l4 csISOLatin4 iso-ir-110 cp914 IBM914 914",
  "ISO-8859-5 8859_5 ISO_8859-5:1988 cyrillic csISOLatinCyrillic iso-ir-144 cp915 IBM915 915",
  "ISO-8859-6 8859_6 ISO_8859-6:1987 arabic csISOLatinArabic iso-ir-127 ECMA-114 ASMO-708 cp1089 IBM1089 1089",
  "ISO-8859-7 8859_7 ISO_8859-7:1987 greek greek8 csISOLatinGreek iso-ir-126 ECMA-118 ELOT_928 sun_eu_greek cp813 IBM813 813",
  "ISO-8859-8 8859_8 ISO_8859-8:1988 hebrew csISOLatinHebrew iso-ir-138 cp916 IBM916 916",
  "ISO-8859-9 8859_9 ISO_8859-9:1989 latin5 l5 csISOLatin5 iso-ir-148 cp920 IBM920 920",
  "ISO-8859-11",
  "ISO-8859-13 8859_13",
  "ISO-8859-15 8859_15 ISO8859_15_FDIS latin9 l9 latin0 csISO885915 csISOLatin9 csISOLatin0 cp923 IBM923 923",
  "ISO-8859-16 ISO_8859-16:2001 latin10 l10 csISO885916 iso-ir-226",
  "windows-874 ms874",
  "windows-1250 cp1250 cp5346",
  "windows-1251 cp1251 cp5347 ansi-1251",
  "windows-1252 cp1252 cp5348 IBM1252",
  "windows-1253 cp1253 cp5349",
  "windows-1254 cp1254 cp5350",
  "windows-1255 cp1255",
  "windows-1256 cp1256",
  "windows-1257 cp1257 cp5353",
  "windows-1258 cp1258",
  "KOI8-R koi8 csKOI8R",
  "KOI8-U",
  "IBM437 cp437 windows-437 cspc8codepage437 437",
  "IBM737 cp737 737",
  "IBM775 cp775 775",
  "IBM850 cp850 cspc850multilingual 850",
  "IBM852 cp852 csPCp852 852",
  "IBM855 cp855 cspcp855 855",
  "IBM857 cp857 csIBM857 857",
  "IBM858 cp858 IBM00858 cp00858 ccsid00858 PC-Multilingual-850+euro 858",
  "IBM860 cp860 csIBM860 860",
  "IBM861 cp861 csIBM861 cp-is 861",
  "IBM862 cp862 csIBM862 cspc862latinhebrew 862",
  "IBM863 cp863 csIBM863 863",
  "IBM864 cp864 csIBM864 864",
  "IBM865 cp865 csIBM865 865",
  "IBM866 cp866 csIBM866 866",
  "IBM869 cp869 csIBM869 cp-gr 869",
  "TIS-620 tis620.2533",
  "Shift_JIS sjis ms_kanji csShiftJIS",
  "windows-31j ms932 windows-932 csWindows31J",
  "ISO-2022-JP jis jis_encoding csjisencoding csISO2022JP",
  "EUC-JP eucjis csEUCPkdFmtjapanese Extended_UNIX_Code_Packed_Format_for_Japanese",
  "GB2312 gb2312-80 gb2312-1980 euc-cn",
  "GBK cp936 windows-936",
  "MS936 mswin-936",
  "GB18030 gb18030-2022",
  "Big5 csBig5",
  "windows-950 ms950",
  "Big5-HKSCS big5hk",
  "EUC-KR ksc5601 ksc5601-1987 ksc_5601 ks_c_5601-1987 csEUCKR 5601",
  "windows-949 ms949",
].map((names) => names.split(" "));

/** The charsets that can be read, by the first of their names. */
export const CHARSETS: readonly string[] = NAMES.map(([name]) => name);

const CHARSET_OF_KEY = new Map(
  NAMES.flatMap((names) => names.map((name) => [keyOf(name), names[0]])),
);

/**
 * Finds a charset by any of its names; case and punctuation do not count, nor does a leading `x-`.
 * @throws {StreamError} BAD_REQUEST, naming the nearest known ones.
 */
export function charsetOf(name: string): string {
  const charset = CHARSET_OF_KEY.get(keyOf(name));
  if (charset !== undefined) return charset;
  const message = `there is no charset ${JSON.stringify(name)}; the nearest are `;
  throw new StreamError("BAD_REQUEST", message + nearest(name).join(", "));
}

/** The part of a name that counts. */
function keyOf(name: string): string {
  return name.toLowerCase().replace(/[^0-9a-z]/g, "").replace(/^x(?=[a-z])/, "");
}

/** The three charsets with the names most like the given one. */
function nearest(name: string): string[] {
  const key = keyOf(name);
  const distances = NAMES.map((names) => ({
    name: names[0],
    distance: Math.min(...names.map((known) => editDistance(key, keyOf(known)))),
  }));
  return distances.sort((a, b) => a.distance - b.distance).slice(0, 3).map(({ name }) => name);
}
