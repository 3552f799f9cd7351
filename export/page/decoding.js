"use strict";
// A file to a picture {width, height, data: three bytes a pixel}, as `kzoo.preprocessing.decode` reads it.

// What is drawn upright by its EXIF data: of each orientation which pixel of the file stands at (x, y).
const UPRIGHT = {
  2: (x, y, w, h) => [w - 1 - x, y],
  3: (x, y, w, h) => [w - 1 - x, h - 1 - y],
  4: (x, y, w, h) => [x, h - 1 - y],
  5: (x, y, w, h) => [y, x],
  6: (x, y, w, h) => [y, h - 1 - x],
  7: (x, y, w, h) => [w - 1 - y, h - 1 - x],
  8: (x, y, w, h) => [w - 1 - y, x],
};
const ORIENTATION = 0x112, SHORT = 3;
const PIXELS = 178956970; // as in kzoo/files/limits.py
const TILE = 2048;

function startsWith(bytes, text, at = 0) {
  return [...text].every((letter, each) => bytes[at + each] === letter.charCodeAt(0));
}

function typeOf(bytes) {
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return "image/jpeg";
  if (startsWith(bytes, "\x89PNG")) return "image/png";
  if (startsWith(bytes, "RIFF") && startsWith(bytes, "WEBP", 8)) return "image/webp";
  if (startsWith(bytes, "GIF8")) return "image/gif";
  if (startsWith(bytes, "BM")) return "image/bmp";
  return startsWith(bytes, "ftypavi", 4) ? "image/avif" : "";
}

// [start, end] of the EXIF data of a JPEG, PNG or WebP, null where there are none.
function exifOf(bytes, type) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (type === "image/jpeg") {
    for (let at = 2; at + 10 < bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda; ) {
      const end = at + 2 + view.getUint16(at + 2);
      if (bytes[at + 1] === 0xe1 && startsWith(bytes, "Exif\0\0", at + 4)) return [at + 10, end];
      at = end;
    }
  } else if (type === "image/png") {
    for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
      if (startsWith(bytes, "eXIf", at + 4)) return [at + 8, at + 8 + view.getUint32(at)];
    }
  } else if (type === "image/webp") {
    for (let at = 12; at + 8 <= bytes.length; ) {
      const size = view.getUint32(at + 4, true), start = at + 8 + (startsWith(bytes, "Exif\0\0", at + 8) ? 6 : 0);
      if (startsWith(bytes, "EXIF", at)) return [start, at + 8 + size];
      at += 8 + size + (size % 2);
    }
  }
  return null;
}

// [orientation, bytes without it]: what browsers make of it differs by their kind and age.
function orientationOf(bytes, type) {
  const found = exifOf(bytes, type);
  if (!found || found[1] > bytes.length || found[1] - found[0] < 8) return [1, bytes];
  const exif = new DataView(bytes.buffer, bytes.byteOffset + found[0], found[1] - found[0]);
  const little = exif.getUint16(0) === 0x4949, table = exif.getUint32(4, little);
  const count = table + 2 <= exif.byteLength ? exif.getUint16(table, little) : 0;
  for (let at = table + 2; at < table + 2 + 12 * count && at + 12 <= exif.byteLength; at += 12) {
    if (exif.getUint16(at, little) !== ORIENTATION || exif.getUint16(at + 2, little) !== SHORT) continue;
    const orientation = exif.getUint16(at + 8, little), ends = [found[0] - 8, found[1] + 4]; // of a PNG's chunk
    exif.setUint16(at + 8, 1, little);
    if (type === "image/png") bytes = joined([bytes.subarray(0, ends[0]), bytes.subarray(ends[1])]);
    return [orientation in UPRIGHT ? orientation : 1, bytes];
  }
  return [1, bytes];
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((length, each) => length + each.length, 0));
  parts.reduce((at, each) => (whole.set(each, at), at + each.length), 0);
  return whole;
}

function turned(picture, orientation) {
  if (orientation === 1) return picture;
  const { width, height, data } = picture, out = orientation < 5 ? empty(width, height) : empty(height, width);
  for (let y = 0, to = 0; y < out.height; y++) {
    for (let x = 0; x < out.width; x++, to += 3) {
      const [left, top] = UPRIGHT[orientation](x, y, width, height), from = (top * width + left) * 3;
      out.data[to] = data[from];
      out.data[to + 1] = data[from + 1];
      out.data[to + 2] = data[from + 2];
    }
  }
  return out;
}

// Four bytes a pixel of a canvas, whose transparent pixels have lost some of their colour. A canvas takes no picture of
// any size, and shows none of what it does not take: one tile after the other.
function drawn(bitmap) {
  const { width, height } = bitmap, data = new Uint8ClampedArray(width * height * 4);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.min(width, TILE), Math.min(height, TILE)];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += TILE) {
    for (let left = 0; left < width; left += TILE) {
      const wide = Math.min(TILE, width - left), high = Math.min(TILE, height - top);
      context.clearRect(0, 0, wide, high);
      context.drawImage(bitmap, left, top, wide, high, 0, 0, wide, high);
      const tile = context.getImageData(0, 0, wide, high).data;
      for (let y = 0; y < high; y++) {
        data.set(tile.subarray(y * wide * 4, (y + 1) * wide * 4), ((top + y) * width + left) * 4);
      }
    }
  }
  return data;
}

// Four bytes a pixel as they are in the file: a texture, unlike a canvas, keeps colours that are not seen. Of a GIF
// browsers forget them before that. Null where there is no texture of that size.
function stored(bitmap, type) {
  const gl = document.createElement("canvas").getContext("webgl"), { width, height } = bitmap;
  if (type === "image/gif" || !gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  const data = new Uint8Array(width * height * 4);
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  const texture = gl.getParameter(gl.TEXTURE_BINDING_2D);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return data;
}

// Over white as Pillow does it, or the colours alone.
function opaque({ width, height }, data, overWhite) {
  const picture = empty(width, height), out = picture.data;
  for (let from = 0, to = 0; from < data.length; from += 4) {
    const alpha = overWhite ? data[from + 3] : 255;
    for (let channel = 0; channel < 3; channel++) {
      const sum = (data[from + channel] * alpha + 255 * (255 - alpha) + 128) << 7;
      out[to++] = alpha === 255 ? data[from + channel] : (((sum >> 8) + sum) >> 8) >> 7;
    }
  }
  return picture;
}

// The picture of a file (a Blob) as the image steps of a model want it decoded.
async function decoded(file, { decoding }) {
  let bytes = new Uint8Array(await file.arrayBuffer()), orientation, bitmap;
  const type = typeOf(bytes), asShown = decoding === "as_shown";
  if (!asShown && type === "image/png" && bytes[24] === 16 && bytes[25] === 0) {
    throw new Error("a grey picture of 16 bits, which this model would see in white alone; save it with 8 bits");
  }
  [orientation, bytes] = orientationOf(bytes, type);
  try {
    const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
    bitmap = await createImageBitmap(new Blob([bytes], { type: type || file.type }), options);
  } catch {
    throw new Error("this browser cannot read it as a picture");
  }
  if (bitmap.width * bitmap.height > PIXELS) throw new Error(`more than ${PIXELS} pixels, which is too large`);
  let data = drawn(bitmap), transparent = false;
  for (let at = 3; at < data.length && !transparent; at += 4) transparent = data[at] !== 255;
  if (transparent) {
    const whole = stored(bitmap, type);
    if (!whole && !asShown) {
      throw new Error("this model looks at colours below what is transparent, which this browser cannot read; flatten it");
    }
    data = whole ?? data;
  }
  return turned(opaque(bitmap, data, asShown), asShown ? orientation : 1);
}
