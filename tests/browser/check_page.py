"""The page of `kzoo.export.web_page` in Chromium, beside the same in Python: `make browser`.

Builds a tiny model with random weights, exports it, writes its pages, opens them as a double click does, gives them
pictures, and compares pixels and shares. Needs Chromium, and npm for onnxruntime-web unless --engine names its folder.
"""

import argparse
import base64
import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from chromium import Chromium
from pictures import LOSSY, SIZES, WITHOUT_LOSS, files, noise, saved, scene, steps
from shared_case import spread, tiny_model, toy_pairs
from typed import check_field, check_ids, check_typed, type_in

import kzoo
from kzoo.adaptation import AdaptedClassifier, GaussianDiscriminant, TipAdapter
from kzoo.export import runtime, web_page
from kzoo.layers import SimilarityHead
from kzoo.preprocessing import ImageSteps

CLOSE = 1e-3  # of shares
LABELS = ["red", "</script><b>blue</b>", 'grün & "grey"', "a'b", "big", "small", "$name ${x}"]
BYTES = "Uint8Array.from(atob({!r}), (letter) => letter.charCodeAt(0))"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, help="folder of onnxruntime-web; default: npm fetches it")
    parser.add_argument("--output", type=Path, default=Path("build/browser"), help="folder for pages and pictures")
    options = parser.parse_args()
    shutil.rmtree(options.output, ignore_errors=True)
    (options.output / "photos").mkdir(parents=True)
    photos = []
    for name, (content, _) in files().items():
        ending = name.split(",")[0]
        path = options.output / "photos" / f"{name.replace(',', '').replace(' ', '-')}.{ending}"
        path.write_bytes(content)
        photos.append(path)
    pages = written(options.output, options.engine)
    home = next(iter(pages))
    with Chromium() as browser:
        opened(browser, home)
        check_pixels(browser)
        check_shares(browser, pages, photos)
        check_ids(browser, opened, options.output / "float32")
        check_typed(browser, opened, asked, options.output, photos)
        check_field(browser, opened, asked, options.output / "float32", photos)
        check_manners(browser, home, photos[0])
        check_served(browser, home, photos[0])
        check_refusals(browser, home, options.output)
    photograph(home, next(path for path in photos if path.suffix == ".jpeg"), options.output)
    print(f"all is as it should be; pictures of the page are in {options.output}")


def written(output, engine) -> dict:
    """Folder of a page -> function of paths to the shares that it should give."""
    model = tiny_model(image_size=(24, 32), similarity=SimilarityHead(scale=20.0, bias=-1.0, name="similarity"))
    spread(model)
    pages = {}
    for dtype in ("float32", "float16"):
        model.export(output / f"{dtype}_onnx", dtype=dtype)
    samples = toy_pairs(24)
    samples = {"images": [*samples["images"]], "texts": samples["captions"]}
    graphs = model.export(output / "int8_onnx", quantize="int8", samples=samples)["quantized"]["graphs"]
    assert "int8" in graphs["image_encoder"]["level"], graphs["image_encoder"]
    masked = kzoo.from_preset("lit_nano", load_weights=False)  # whose text tower reads a mask, too
    masked.preprocessor.adapt(toy_pairs(24)["captions"])
    spread(masked)
    masked.similarity.log_scale.assign(np.log(100.0))  # so that shares move
    masked.export(output / "masked_onnx")
    for name in ("float32", "float16", "int8", "masked"):
        served = runtime.load(output / f"{name}_onnx")
        web_page(output / f"{name}_onnx", output / name, LABELS, ["a {}.", "{}"], engine, text_tower=True)
        # int8 scales by what is in a batch, and what is typed stands on its own
        pages[output / name] = partial(served.classify, labels=LABELS, templates=["a {}.", "{}"], batch_size=1)
    served = runtime.load(output / "float32_onnx")
    shots = served.encode_image(toy_pairs(24)["images"])
    labels, texts = np.arange(24) % 4, served.encode_text(["red", "green", "blue", "grey"])
    for kind in (GaussianDiscriminant, TipAdapter):
        classifier = kind(shots, labels, texts, ["red", "green", "blue", "grey"])
        adapted = AdaptedClassifier(served, classifier)
        web_page(adapted, output / kind.__name__, engine=engine)
        pages[output / kind.__name__] = adapted.classify
    return pages


def opened(browser, page):
    """Open a page from the disk, as a double click does."""
    browser.events.clear()
    browser.open((page / "index.html").resolve().as_uri())
    browser.until("element('load').hidden")
    wrong = browser.ask("element('wrong').textContent")
    assert not wrong, wrong


def pixels(browser, content, step, what="stepped(picture, steps)"):
    """What the page makes of the bytes of a file by some steps."""
    text = base64.b64encode(content).decode()
    width, height, found = browser.ask(
        f"""(async () => {{
          const steps = {json.dumps(step.get_config())}, file = new Blob([{BYTES.format(text)}]);
          const picture = await decoded(file, steps);
          const found = {what};
          const letters = Array.from(found.data, (each) => String.fromCharCode(each));
          return [found.width, found.height, btoa(letters.join(""))];
        }})()"""
    )
    return np.frombuffer(base64.b64decode(found), "uint8").reshape(height, width, 3)


def difference(found, meant):
    assert found.shape == meant.shape, (found.shape, meant.shape)
    return int(np.abs(found.astype(int) - meant.astype(int)).max())


def check_pixels(browser):
    worst = [
        difference(pixels(browser, content, step), step(content))
        for content in (saved(noise(*size), "PNG") for size in SIZES)
        for step in steps()
    ]
    print(f"pixels, {len(SIZES)} sizes by {len(steps())} steps: worst difference {max(worst)} of 255")
    assert max(worst) == 0
    for decoding in ("as_shown", "as_trained"):
        step, worst = ImageSteps(64, "squash", decoding=decoding), {WITHOUT_LOSS: 0, LOSSY: 0}
        for name, (content, bound) in files().items():
            if decoding == "as_trained" and name in ("png, 16 bits", "gif, transparent"):
                said = refusal(browser, content, step)
                assert "save it with 8 bits" in said or "flatten it" in said, said
                continue
            whole = np.asarray(step.decode(content))
            both = difference(pixels(browser, content, step, "picture"), whole)
            both = max(both, difference(pixels(browser, content, step), step(content)))
            assert both <= bound, f"{name}, {decoding}: {both}"
            worst[bound] = max(worst[bound], both)
        print(f"files, {decoding}: worst difference {worst[WITHOUT_LOSS]}, of lossy ones {worst[LOSSY]}, of 255")


def refusal(browser, content, step):
    try:
        pixels(browser, content, step)
    except RuntimeError as error:
        return str(error)
    raise AssertionError("it is taken")


def asked(browser, path):
    """The shares that a page shows once a file is chosen, and their names, all five."""
    browser.give("#file", path)
    browser.until("element('said').textContent || element('wrong').textContent")
    shown = "(row) => [row.children[0].textContent, Number(row.dataset.share)]"
    rows = browser.ask(f"[...element('classes').children].map({shown})")
    assert browser.ask("element('working').hidden"), "it is still looking"
    return rows, browser.ask("element('wrong').textContent")


def check_shares(browser, pages, photos):
    for page, shares in pages.items():
        opened(browser, page)
        labels, worst, all_shares = browser.ask("ABOUT.labels"), 0.0, []
        for path in photos:
            (meant,), (rows, wrong) = shares([path]), asked(browser, path)  # int8 scales by what is in a batch
            assert not wrong and len(rows) == min(5, len(labels)), (path, rows, wrong)
            best, least = meant[labels.index(rows[0][0])], meant[[labels.index(name) for name, _ in rows]].min()
            assert best >= meant.max() - CLOSE and least >= np.sort(meant)[-len(rows)] - CLOSE, (path, rows, meant)
            worst = max(worst, *(abs(share - meant[labels.index(name)]) for name, share in rows))
            all_shares.append(meant)
        moved = float(np.ptp(np.array(all_shares), axis=0).max())
        print(
            f"{page.name}: shares of {len(photos)} pictures, over a range of {moved:.2f}, differ by at most {worst:.1e}"
        )
        assert worst < CLOSE and moved > 10 * CLOSE
        assert not complaints(browser), complaints(browser)


def complaints(browser):
    """What went wrong in the page: no warnings, such as that of a texture which is read back."""
    found = [each["params"] for each in browser.events if each["method"] == "Runtime.exceptionThrown"]
    entries = [each["params"]["entry"] for each in browser.events if each["method"] == "Log.entryAdded"]
    return [*found, *(entry["text"] for entry in entries if entry["level"] == "error")]


def check_manners(browser, page, photo):
    """Nothing is sent, names are text, and a picture may be dropped or pasted."""
    opened(browser, page)
    assert browser.ask("ABOUT.labels") == LABELS and browser.ask("document.querySelectorAll('b').length") == 0
    requests = [each["params"] for each in browser.events if each["method"] == "Network.requestWillBeSent"]
    wanted = [each["request"]["url"] for each in requests]
    assert wanted and {url.split(":")[0] for url in wanted} <= {"file", "blob"}, wanted
    sent = "fetch('http://127.0.0.1:9').then(() => 'sent', (error) => error.message)"
    assert browser.ask(sent) == "Failed to fetch"
    assert any("Content Security Policy" in each for each in complaints(browser)), "it may connect"
    text = base64.b64encode(photo.read_bytes()).decode()
    for event, field in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        kind = "DragEvent" if event == "drop" else "ClipboardEvent"
        browser.ask(
            f"""(() => {{
              const data = new DataTransfer();
              data.items.add(new File([{BYTES.format(text)}], "given.png"));
              document.dispatchEvent(new {kind}("{event}", {{ {field}: data, cancelable: true }}));
            }})()"""
        )
        browser.until("element('said').textContent")
        assert browser.ask("element('picture').alt") == "given.png"
    print(f"nothing is sent: {len(wanted)} files are read, from the disk alone; dropping and pasting work")


def check_served(browser, page, photo):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=page)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.open(f"http://127.0.0.1:{server.server_port}/")
        browser.until("element('load').hidden")
        rows, wrong = asked(browser, photo)
        server.shutdown()
    assert len(rows) == 5 and not wrong, wrong
    print("served by a host of files it says the same")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        """Say nothing of each file."""


def check_refusals(browser, page, output):
    opened(browser, page)
    broken = output / "photos" / "broken.png"
    broken.write_bytes(saved(scene(), "PNG")[:200])
    rows, wrong = asked(browser, broken)
    assert not rows and wrong == "broken.png: this browser cannot read it as a picture.", wrong
    print(wrong)
    for name, content, said in (
        ("texts-000.js", None, "The text tower cannot be opened: texts-000.js is not beside this page"),
        ("graph-000.js", None, "put all files of its folder there"),
        ("engine-001.js", 'piece("engine","AAAA");', "copy the whole folder"),
    ):
        lacking = output / "lacking"
        shutil.copytree(page, lacking)
        (lacking / name).unlink()
        if content:
            (lacking / name).write_text(content)
        browser.open((lacking / "index.html").resolve().as_uri())
        browser.until("element('load').hidden")
        wrong = browser.ask("element('wrong').textContent") or type_in(browser, ["new"])[1]
        assert said in wrong, wrong
        print(wrong)
        shutil.rmtree(lacking)


def photograph(page, photo, output):
    for name, options in {"light": {}, "dark": {"dark": True}, "narrow": {"width": 500, "height": 1000}}.items():
        with Chromium(**options) as browser:
            opened(browser, page)
            asked(browser, photo)
            browser.photograph(output / f"{name}.png")


if __name__ == "__main__":
    main()
