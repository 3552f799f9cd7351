"use strict";
// Loads the pieces that lie beside the page, runs the graph on a picture that is given, and shows what it says.

const ABOUT = JSON.parse(document.getElementById("about").textContent);
const SHOWN = 5;
const element = (id) => document.getElementById(id);
const pieces = {}; // name -> the bytes that its script has brought

// Called by each piece: a script, since a page that is opened from a disk may read no other file.
function piece(name, text) {
  pieces[name] = Uint8Array.fromBase64
    ? Uint8Array.fromBase64(text)
    : Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function loaded(source) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.onload = () => (script.remove(), done());
    script.onerror = () => failed(new Error(`${source} is not beside this page; put all files of its folder there`));
    script.src = source;
    document.head.append(script);
  });
}

// The bytes of several files; `progress` is told which part of them is there.
async function fetchedAll(names, progress) {
  const total = names.reduce((sum, name) => sum + ABOUT.files[name].size, 0), found = {};
  let done = 0;
  for (const name of names) found[name] = await fetched(name, (size) => progress((done += size) / total));
  return found;
}

async function fetched(name, progress) {
  const { count, size } = ABOUT.files[name], whole = new Uint8Array(size);
  let at = 0;
  for (let number = 0; number < count; number++) {
    await loaded(`${name}-${String(number).padStart(3, "0")}.js`);
    const bytes = pieces[name];
    delete pieces[name];
    if (!bytes || at + bytes.length > size) break;
    whole.set(bytes, at);
    at += bytes.length;
    progress(bytes.length);
  }
  if (at !== size) throw new Error(`its files are not of one page (${name}); copy the whole folder again`);
  return whole;
}

const sessionOf = (graph) => ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });

// The session of the image tower; from then on there are classes.
async function opened() {
  await loaded("onnxruntime.js");
  const names = ["loader", "engine", "classes", "graph"];
  const found = await fetchedAll(names, (part) => (element("loading").value = part));
  ort.env.wasm.numThreads = 1; // more need memory that is shared, which a page from a disk does not get
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([found.loader], { type: "text/javascript" })) };
  ort.env.wasm.wasmBinary = found.engine;
  classes = { labels: ABOUT.labels, numbers: new Float32Array(found.classes.buffer), votes: ABOUT.votes };
  return sessionOf(found.graph);
}

// Scores of classes for an embedding of unit length.
function scored(embedding, { labels, numbers, votes }) {
  const dim = embedding.length, count = labels.length;
  const dot = (start) => embedding.reduce((sum, each, place) => sum + each * numbers[start + place], 0);
  const scores = labels.map((_, row) => dot(row * dim) + numbers[count * dim + row]);
  votes?.labels.forEach((label, row) => {
    const nearness = dot(count * (dim + 1) + row * dim);
    scores[label] += votes.alpha * Math.exp(votes.beta * (nearness - 1));
  });
  return scores;
}

function shares(scores) {
  const highest = scores.reduce((a, b) => Math.max(a, b));
  const powers = scores.map((each) => Math.exp(each - highest)), sum = powers.reduce((a, b) => a + b);
  return powers.map((each) => each / sum);
}

// What the tower sees of a file: three bytes a pixel.
async function seen(file) {
  return stepped(await decoded(file, ABOUT.steps), ABOUT.steps);
}

// At unit length, an array; `what` has none where no number says where it points.
function direction(numbers, what) {
  const length = Math.hypot(...numbers);
  if (!(length > 0 && length < Infinity)) throw new Error(`the model finds nothing in ${what} that it could compare`);
  return Array.from(numbers, (each) => each / length);
}

async function embedded(picture) {
  const session = await ready;
  const pixels = new ort.Tensor("uint8", new Uint8Array(picture.data), [1, picture.height, picture.width, 3]);
  const found = await session.run({ images: pixels }, ["image_embeddings"]);
  return direction(await found.image_embeddings.getData(), "it");
}

// What the classes say of the picture that was seen last.
function shown() {
  const found = shares(scored(last, classes)), percent = (place) => `${(100 * found[place]).toFixed(1)} %`;
  const order = found.map((_, place) => place).sort((a, b) => found[b] - found[a]).slice(0, SHOWN);
  element("classes").replaceChildren(
    ...order.map((place) => {
      const row = document.createElement("li"), name = document.createElement("span");
      const share = document.createElement("span"), bar = document.createElement("div");
      name.textContent = classes.labels[place];
      share.textContent = percent(place);
      bar.append(document.createElement("div"));
      bar.firstChild.style.width = `${100 * found[place]}%`;
      row.dataset.share = found[place];
      row.append(name, share, bar);
      return row;
    }),
  );
  element("said").textContent = `${classes.labels[order[0]]}, ${percent(order[0])}`;
}

const timed = (seconds) => (seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`);
const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
let asked = 0; // only the picture that was given last is answered
let classes; // {labels, numbers, votes} that pictures are compared with
let last = null; // the embedding of the picture that is shown

async function answer(file) {
  const number = ++asked, wanted = () => number === asked;
  last = null;
  element("wrong").textContent = element("said").textContent = element("time").textContent = "";
  element("classes").replaceChildren();
  URL.revokeObjectURL(element("picture").src);
  element("picture").src = URL.createObjectURL(file);
  [element("picture").hidden, element("picture").alt] = [false, file.name || "the picture"];
  element("working").hidden = false;
  try {
    await ready;
    await painted();
    const begun = performance.now(), found = await embedded(await seen(file));
    if (!wanted()) return;
    last = found;
    shown();
    element("time").textContent = `${timed((performance.now() - begun) / 1000)} on this device`;
  } catch (error) {
    if (!wanted()) return;
    element("picture").hidden = true;
    element("wrong").textContent = `${file.name || "The picture"}: ${error.message}.`;
  } finally {
    if (wanted()) element("working").hidden = true;
  }
}

function offered(data) {
  const file = [...(data?.files ?? [])][0];
  if (file) answer(file);
  else element("wrong").textContent = "That is no file; give a picture from a disk.";
}

const ready = opened();
ready.then(
  () => (element("load").hidden = true),
  (error) => {
    element("load").hidden = true;
    element("wrong").textContent = `The model cannot be opened: ${error.message}.`;
  },
);
element("file").addEventListener("change", ({ target }) => {
  if (target.files.length) offered(target);
  target.value = ""; // so that the same file can be chosen again
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (event.target.tagName === "TEXTAREA" && !event.dataTransfer.types.includes("Files")) return; // a text for it
    event.preventDefault();
    element("place").classList.toggle("over", kind === "dragover");
    if (kind === "drop") offered(event.dataTransfer);
  });
}
document.addEventListener("paste", (event) => event.clipboardData.files.length && offered(event.clipboardData));
