"use strict";
// Pictures {width, height, data: three bytes a pixel} to the size a tower takes, with the numbers that Pillow gives.

const FILTERS = {
  bilinear: { reach: 1, weight: (x) => (x < 1 ? 1 - x : 0) },
  bicubic: {
    reach: 2,
    weight: (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0),
  },
};
const BITS = 22; // of the fraction of a weight: Pillow sums whole numbers
const REACH = 3, LONG = 16; // as in kzoo/preprocessing/images.py

// What the pixels first..last of a side are made of, were the part from..to of it scaled to `length` pixels: of each the
// place where its run of pixels begins, and their weights, whole numbers.
function runs(have, from, to, length, filter, first, last) {
  [from, to] = [Math.fround(from), Math.fround(to)];
  const scale = Math.fround(to - from) / length, wide = Math.max(1, scale);
  const reach = FILTERS[filter].reach * wide, found = [];
  for (let place = first; place < last; place++) {
    const centre = from + (place + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(have, Math.trunc(centre + reach + 0.5));
    const weights = [];
    let total = 0;
    for (let x = start; x < end; x++) {
      weights.push(FILTERS[filter].weight(Math.abs((x - centre + 0.5) * (1 / wide))));
      total += weights.at(-1);
    }
    const whole = weights.map((each) => (total === 0 ? each : each / total) * 2 ** BITS);
    found.push({ start, weights: Int32Array.from(whole, (each) => Math.trunc(each < 0 ? each - 0.5 : each + 0.5)) });
  }
  return found;
}

function empty(width, height) {
  return { width, height, data: new Uint8ClampedArray(width * height * 3) };
}

function scaledWidth(picture, runs) {
  const out = empty(runs.length, picture.height), from = picture.data, to = out.data;
  for (let y = 0, at = 0; y < picture.height; y++) {
    const row = y * picture.width;
    for (const { start, weights } of runs) {
      let red = 1 << (BITS - 1), green = red, blue = red;
      for (let x = 0, place = (row + start) * 3; x < weights.length; x++, place += 3) {
        red += from[place] * weights[x];
        green += from[place + 1] * weights[x];
        blue += from[place + 2] * weights[x];
      }
      to[at++] = red >> BITS;
      to[at++] = green >> BITS;
      to[at++] = blue >> BITS;
    }
  }
  return out;
}

function scaledHeight(picture, runs) {
  const out = empty(picture.width, runs.length), length = picture.width * 3, sums = new Int32Array(length);
  runs.forEach(({ start, weights }, y) => {
    sums.fill(1 << (BITS - 1));
    weights.forEach((weight, each) => {
      const row = (start + each) * length;
      for (let x = 0; x < length; x++) sums[x] += picture.data[row + x] * weight;
    });
    for (let x = 0; x < length; x++) out.data[y * length + x] = sums[x] >> BITS;
  });
  return out;
}

function cropped(picture, left, top, width, height) {
  if (!left && !top && width === picture.width && height === picture.height) return picture;
  const out = empty(width, height); // black, where there is nothing
  const from = Math.max(0, left), to = Math.min(picture.width, left + width);
  for (let y = Math.max(0, top); y < Math.min(picture.height, top + height) && from < to; y++) {
    const row = picture.data.subarray((y * picture.width + from) * 3, (y * picture.width + to) * 3);
    out.data.set(row, ((y - top) * width + from - left) * 3);
  }
  return out;
}

// The pixels from `at`, as many as `shown`, of the part `box` of a picture scaled to `size`; all but the picture are pairs
// [width, height], the box is [left, top, right, bottom]. One side after the other, and rounded in between: the order is
// Pillow's.
function resized(picture, size, filter, box, at, shown) {
  const have = [picture.width, picture.height];
  const heightFirst = have[1] > size[1] && have[1] - size[1] > 2 * (have[0] - size[0]);
  for (const side of heightFirst ? [1, 0] : [0, 1]) {
    const ends = [at[side], at[side] + shown[side]];
    if (size[side] !== have[side] || box[side] || box[side + 2] !== size[side]) {
      const made = runs(have[side], box[side], box[side + 2], size[side], filter, ...ends);
      picture = side ? scaledHeight(picture, made) : scaledWidth(picture, made);
    } else if (side) picture = cropped(picture, 0, ends[0], picture.width, shown[1]);
    else picture = cropped(picture, ends[0], 0, shown[0], picture.height);
  }
  return picture;
}

// Where a crop begins, or a margin of a picture that is too small, as a negative number.
function offset(have, want, rounding) {
  if (have < want && rounding === "even") return -Math.floor((want - have) / 2);
  return rounding === "even" ? roundEven((have - want) / 2) : Math.floor((have - want) / 2);
}

// As Python rounds: of two whole numbers as near the even one.
function roundEven(x) {
  const below = Math.floor(x);
  return x - below === 0.5 ? below + (below % 2 ? 1 : 0) : Math.round(x);
}

// [width, height] that a picture is scaled to before the centre of it is taken.
function scaledSize({ width, height }, { resize, image_size, resize_size }) {
  const [high, wide] = resize_size || image_size;
  if (resize === "squash") return [wide, high];
  if (resize === "longest" || high !== wide) {
    const ratio = (resize === "longest" ? Math.max : Math.min)(height / high, width / wide);
    return [width, height].map((side) => Math.max(1, roundEven(side / ratio)));
  }
  const long = Math.trunc((high * Math.max(width, height)) / Math.min(width, height));
  return height <= width ? [long, high] : [high, long];
}

// A picture of any size to that of the tower: what `kzoo.preprocessing.ImageSteps` makes of it.
function stepped(picture, steps) {
  const full = scaledSize(picture, steps), want = [steps.image_size[1], steps.image_size[0]];
  const shown = full.map((side, each) => Math.min(side, want[each]));
  const at = full.map((side, each) => offset(side, shown[each], steps.crop_rounding));
  if (full[0] * full[1] > LONG * shown[0] * shown[1]) picture = longCentre(picture, full, shown, at, steps);
  else picture = resized(picture, full, steps.interpolation, [0, 0, picture.width, picture.height], at, shown);
  const margins = [picture.width, picture.height].map((side, each) => offset(side, want[each], steps.crop_rounding));
  return cropped(picture, ...margins, ...want);
}

// Of a long and thin picture what is shown is cut out first, with what its edges are made of.
function longCentre(picture, full, shown, at, steps) {
  const have = [picture.width, picture.height];
  const place = (each, side) => (each * have[side]) / full[side];
  const box = [0, 1, 2, 3].map((end) => (end < 2 ? place(at[end], end) : place(at[end - 2] + shown[end - 2], end - 2)));
  const upright = picture.width < picture.height && full[1] < picture.height;
  for (const side of upright ? [1, 0] : [0, 1]) {
    const other = 1 - side, sides = [picture.width, picture.height], cut = [0, 0, ...sides];
    const reach = REACH * Math.max(1, sides[other] / full[other]);
    cut[other] = Math.max(0, Math.floor(box[other] - reach));
    cut[other + 2] = Math.min(sides[other], Math.ceil(box[other + 2] + reach));
    box[other] -= cut[other];
    box[other + 2] -= cut[other];
    picture = cropped(picture, cut[0], cut[1], cut[2] - cut[0], cut[3] - cut[1]);
    const size = [picture.width, picture.height], part = [0, 0, ...size];
    [size[side], part[side], part[side + 2]] = [shown[side], box[side], box[side + 2]];
    picture = resized(picture, size, steps.interpolation, part, [0, 0], size);
    [box[side], box[side + 2]] = [0, shown[side]];
  }
  return picture;
}
