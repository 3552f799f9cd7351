"use strict";
// Texts to the ids that `kzoo.preprocessing.Tokenizer` gives them: what it does around its vocabulary, which is read by
// @huggingface/tokenizers.

const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g; // as Python sees them
const PUNCTUATION = /[!-/:-@[-`{-~]/g;
const MARK = "▁"; // of a space
const REFERENCE = /&(?:#(?:(\d+)|[xX]([\da-fA-F]+));?|[A-Za-z\d]{1,32};?)/g;

// As Python's html.unescape: what a browser makes of a reference, but for code points that are no characters.
function unescaped(text) {
  const field = document.createElement("textarea");
  return text.replace(REFERENCE, (reference, decimal, hex) => {
    const code = decimal ? parseInt(decimal, 10) : hex ? parseInt(hex, 16) : null;
    const control = (code > 0 && code < 9) || code === 11 || (code > 13 && code < 32) || code === 127;
    const none = (code >= 0xfdd0 && code < 0xfdf0) || (code <= 0x10ffff && (code & 0xfffe) === 0xfffe);
    if (code !== null && (control || none)) return "";
    field.innerHTML = reference;
    return field.textContent;
  });
}

function repaired(text, { repairs }) {
  return unescaped(unescaped(text)).replace(/[^]/gu, (letter) => repairs[letter] ?? letter).normalize("NFC");
}

const collapsed = (text) => text.replace(SPACES, " ").replace(/^ | $/g, "");
const bare = (text) => collapsed(text.replace(PUNCTUATION, "").toLowerCase());
const CLEANERS = { // as in kzoo/preprocessing/cleaning.py
  openai: (text, reader) => collapsed(repaired(text, reader)).toLowerCase(),
  whitespace: (text, reader) => collapsed(repaired(text, reader)),
  canonicalize: (text, reader) => bare(repaired(text, reader).replaceAll("_", " ")),
  big_vision: (text) => bare(text.replaceAll("_", " ")),
  siglip: between,
  lowercase: (text) => text,
  none: (text) => text,
};

// Cleaned between special tokens, as `kzoo.preprocessing.special_tokens.between` does it.
function between(text, { specials }) {
  const literal = specials.map((each) => each.replace(/\W/g, "\\$&")).join("|");
  let parts = text.replaceAll(MARK, " ").split(literal ? new RegExp(`(${literal})`) : /(?!)/);
  parts = parts.map((part, place) => (place % 2 ? part : bare(part)));
  if (parts.length > 1 && !parts.at(-1) && parts.at(-2) === specials[0]) parts = parts.slice(0, -2);
  return parts.join("");
}

// The character map of a sentencepiece model, as kzoo/preprocessing/charsmap.py applies it: a function of a text.
function characterMap(blob) {
  const bytes = Uint8Array.from(atob(blob), (letter) => letter.charCodeAt(0)), view = new DataView(bytes.buffer);
  const size = view.getUint32(0, true), units = size / 4, unit = (place) => view.getUint32(4 + 4 * place, true);
  const offset = (each) => (each >>> 10) << ((each & 0x200) >>> 6);
  const child = (place, byte) => {
    const at = place ^ offset(unit(place)) ^ byte;
    return at >= 0 && at < units && (unit(at) & 0x800000ff) === byte ? at : null;
  };
  return (text) => {
    const data = new TextEncoder().encode(text), parts = [];
    for (let at = 0; at < data.length; ) {
      let length = data[at] < 0x80 ? 1 : data[at] < 0xe0 ? 2 : data[at] < 0xf0 ? 3 : 4, value = null;
      for (let end = at, place = 0; end < data.length && (place = child(place, data[end])) !== null; end++) {
        if (!((unit(place) >>> 8) & 1)) continue;
        value = unit(place ^ offset(unit(place))) & 0x7fffffff;
        length = end + 1 - at;
      }
      const start = 4 + size + value;
      const stands = value === null ? data.subarray(at, at + length) : bytes.subarray(start, bytes.indexOf(0, start));
      parts.push(stands);
      at += length;
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(joined(parts));
  };
}

// What reads texts: the vocabulary of the page in the library.
async function readerOf(vocabulary, script) {
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const library = await import(address);
  URL.revokeObjectURL(address);
  // letter by letter, as the library in Rust: a sigma at the end of a word is no other letter
  library.LowercaseNormalizer.prototype.normalize = (text) => Array.from(text, (each) => each.toLowerCase()).join("");
  const known = JSON.parse(new TextDecoder().decode(vocabulary));
  const charsmap = known.charsmap === null ? (text) => text : characterMap(known.charsmap);
  return { ...known, charsmap, tokenizer: new library.Tokenizer(known.tokenizer, {}) };
}

// {ids, real, cut}: a row of ids, which of them are no padding, and whether the text went on.
function tokenized(text, reader) {
  if (/\p{Surrogate}/u.test(text)) throw new Error("a text holds half of a character; type it anew");
  const { clean, specials, renamed, contextLength, ids: { pad, start, end } } = reader;
  text = CLEANERS[clean](text, reader);
  if (renamed) text = text.replaceAll(...renamed);
  text = reader.charsmap(text);
  if (clean === "siglip" && text && !specials.some((each) => text.startsWith(each))) text = MARK + text;
  const found = reader.tokenizer.encode(text, { add_special_tokens: false }).ids.filter((id) => id !== undefined);
  const room = contextLength - (start !== null) - (end !== null), kept = found.slice(0, room);
  const row = [...(start === null ? [] : [start]), ...kept, ...(end === null ? [] : [end])];
  const ids = new Int32Array(contextLength).fill(pad);
  ids.set(row);
  return { ids, real: Uint8Array.from(ids, (_, place) => place < row.length), cut: found.length > room };
}
