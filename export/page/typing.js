"use strict";
// Classes that are typed: lines of a field to rows that pictures are compared with, by the text tower.

const TEXTS = ABOUT.texts;
const rows = new Map(); // of a label and its prompts -> what a picture's embedding is multiplied with
let texts = null; // a promise of what embeds a text, from when it is first wanted
let submitted = 0; // only what was sent last is used

// The lines of a field; of one line alone, what stands between its commas.
function listed(text, commas) {
  const lines = text.split(/\r\n|\r|\n/).map((line) => line.trim()).filter(Boolean);
  if (!commas || lines.length > 1) return lines;
  return lines.flatMap((line) => line.split(",")).map((part) => part.trim()).filter(Boolean);
}

function wanted() {
  const labels = listed(element("labels").value, true), templates = listed(element("templates").value, false);
  const twice = labels.find((label, place) => labels.indexOf(label) < place);
  const wrong = templates.find((template) => template.split("{}").length !== 2);
  if (!labels.length) throw new Error("There are no classes; type at least one, such as “cat”");
  if (twice !== undefined) throw new Error(`“${twice}” is there twice; give each class once`);
  if (!templates.length) throw new Error("There is no prompt; type one, such as “a photo of a {}”");
  if (wrong !== undefined) throw new Error(`The prompt “${wrong}” needs one {} where the class goes`);
  return { labels, templates };
}

const keyOf = (label, templates) => JSON.stringify([label, ...templates]);

// Of the page's own classes the rows are there before anything is opened.
function remember({ labels, numbers }, templates) {
  const dim = numbers.length / labels.length - 1;
  labels.forEach((label, row) => {
    rows.set(keyOf(label, templates), { row: numbers.subarray(row * dim, (row + 1) * dim), cut: 0 });
  });
}

async function openedTexts() {
  const shownPart = (part) => (element("reading").value = part);
  const found = await fetchedAll(["tokenizers", "vocabulary", "texts"], shownPart);
  element("reading").removeAttribute("value"); // what follows does not say how far it is
  await painted();
  const reader = await readerOf(found.vocabulary, found.tokenizers);
  return { reader, session: await sessionOf(found.texts) };
}

// The embedding of a text, and whether it was cut.
async function embeddedText(text, { reader, session }) {
  const { ids, real, cut } = tokenized(text, reader), shape = [1, ids.length];
  const feeds = { token_ids: new ort.Tensor("int32", ids, shape), padding_mask: new ort.Tensor("bool", real, shape) };
  const given = Object.fromEntries(TEXTS.inputs.map((name) => [name, feeds[name]]));
  const found = await session.run(given, ["text_embeddings"]);
  return { embedding: direction(await found.text_embeddings.getData(), `“${text}”`), cut };
}

// The row of a class: its prompts' mean at unit length, times the scale; and how many of them were cut.
async function rowOf(label, templates, tower) {
  const sum = [];
  let cut = 0;
  for (const template of templates) {
    const found = await embeddedText(template.replace("{}", () => label), tower);
    found.embedding.forEach((each, place) => (sum[place] = (sum[place] ?? 0) + each));
    cut += found.cut;
  }
  return { row: Float32Array.from(direction(sum, `“${label}”`), (each) => each * TEXTS.scale), cut };
}

async function read(labels, templates, current) {
  const fresh = labels.filter((label) => !rows.has(keyOf(label, templates)));
  const say = (text) => (element("read").textContent = text);
  if (fresh.length) {
    [element("reading").value, element("reading").hidden] = [0, false];
    if (!texts) say("Opening the text tower");
    await painted();
    texts ??= openedTexts();
    const tower = await texts.catch((error) => {
      texts = null; // the next try begins anew
      throw new Error(`The text tower cannot be opened: ${error.message}`);
    });
    for (const [place, label] of fresh.entries()) {
      if (!current()) return;
      say(`Reading ${place + 1} of ${fresh.length}: ${label}`);
      element("reading").value = place / fresh.length;
      await painted();
      rows.set(keyOf(label, templates), await rowOf(label, templates, tower));
    }
  }
  if (!current()) return;
  use(labels, templates);
}

function use(labels, templates) {
  const found = labels.map((label) => rows.get(keyOf(label, templates))), dim = found[0].row.length;
  const numbers = new Float32Array(labels.length * (dim + 1)).fill(TEXTS.bias, labels.length * dim);
  found.forEach(({ row }, place) => numbers.set(row, place * dim));
  classes = { labels, numbers };
  const count = labels.length === 1 ? "1 class" : `${labels.length} classes`, all = labels.length * templates.length;
  const cut = found.reduce((sum, each) => sum + each.cut, 0);
  const said = `; ${cut} of ${all} texts ${cut === 1 ? "is" : "are"} longer than ${TEXTS.contextLength} tokens and cut`;
  element("count").textContent = count;
  element("read").textContent = `${count} in use${cut ? said : ""}.`;
  if (!last) return;
  shown();
  element("answer").scrollIntoView({ block: "nearest" });
}

async function submit() {
  const number = ++submitted, current = () => number === submitted;
  element("refused").textContent = "";
  try {
    const { labels, templates } = wanted();
    await ready;
    await read(labels, templates, current);
  } catch (error) {
    if (current()) [element("refused").textContent, element("read").textContent] = [`${error.message}.`, ""];
  } finally {
    if (current()) element("reading").hidden = true;
  }
}

ready.then(() => remember(classes, TEXTS.templates), () => (element("use").disabled = true));
element("typed").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
element("typed").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit();
});
