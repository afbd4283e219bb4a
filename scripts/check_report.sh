#!/usr/bin/env bash
# Opens the pages of `hvae report` in headless Chromium, without a network: of runs with three epochs
# and scores, with one, and with none; and that of a `hvae search`. Checks that they are complete (sections, curves, images),
# without script errors and requests, and legible at 360, 800 and 1600 pixels, light and dark:
# nothing wider than the window, no text below 11 pixels, no labels over each other, contrast.
#
#     bash scripts/check_report.sh                          # target/release/hvae
#     bash scripts/check_report.sh path/to/hvae shots       # another binary; keeps screenshots in shots/
#
# Builds nothing; needs python3. Installs Debian's `chromium` with apt if there is none; if that
# fails it says that nothing was checked, and succeeds.
set -euo pipefail
hvae=$(realpath -m "${1:-${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/release/hvae}")
shots=${2:+$(realpath -m "$2")}
[ -x "$hvae" ] || { echo "no such file: $hvae; build it with cargo build --release" >&2; exit 1; }

fail() { printf 'check_report: %s\n' "$*" >&2; exit 1; }

browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
if ! browser >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing chromium"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium; } \
        >/dev/null 2>&1 || true
fi
if ! chromium=$(browser); then
    echo '*** NOT CHECKED: no Chromium here to open the report in (apt install chromium) ***' >&2
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
small=(--quiet --dataset synthetic --train-images 256 --test-images 64 --batch-size 32
       --set 'model.hidden=[24]' --set model.latent=4 --set training.warmup_steps=2)
"$hvae" train "${small[@]}" --epochs 3 --name run >/dev/null
"$hvae" train "${small[@]}" --epochs 1 --name short >/dev/null
"$hvae" eval --quiet checkpoints/run --count 20 --nll-images 4 --nll-samples 3 >/dev/null
# As a run is before its first epoch ends.
cp -r checkpoints/short checkpoints/begun
rm -r checkpoints/begun/metrics.* checkpoints/begun/samples checkpoints/begun/reconstructions
for run in run short begun; do
    "$hvae" report --quiet "checkpoints/$run" --out "$run.html" >/dev/null
done
"$hvae" search --quiet h-vae --trials 8 --epochs 2 --set data.dataset=synthetic \
    --set data.train_images=64 --set data.validation_images=20 --set 'model.hidden=[24]' --set training.warmup_steps=1 >/dev/null
cp searches/h-vae/report.html search.html
page=run.html

# Opens a page; its console goes to log, its requests to net.json.
open_page() {
    timeout 40 "$chromium" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
        --user-data-dir="$work/profile" --no-first-run --no-default-browser-check \
        --disable-background-networking --disable-component-update --disable-sync \
        --disable-default-apps --disable-extensions --disable-quic \
        --host-resolver-rules='MAP * ~NOTFOUND' --proxy-server='http://127.0.0.1:9' \
        --enable-logging=stderr --log-net-log="$work/net.json" --virtual-time-budget=5000 \
        --window-size=1700,4000 "$@" 2>"$work/log"
}

# The requests of the page that was opened; the browser's own requests have no origin.
asked() {
    python3 - net.json <<'PYTHON'
import json, sys
text = open(sys.argv[1], encoding="utf-8", errors="replace").read()
try:
    log = json.loads(text)
except ValueError:  # The browser exited before it closed the list.
    log = json.loads(text.rstrip().rstrip(",") + "]}")
assert log["events"], "the log of requests is empty"
params = [event.get("params") or {} for event in log["events"]]
none = "not an origin"
urls = {p["url"] for p in params if p.get("initiator", none) != none and "url" in p}
print("\n".join(sorted(url for url in urls if not url.startswith(("data:", "file:")))))
PYTHON
}

# Requests do appear in the log; otherwise their absence below would mean nothing.
echo '<img src="http://example.org/picture.png">' >asks.html
open_page --dump-dom "file://$work/asks.html" >/dev/null || fail "Chromium failed: $(tail -3 log)"
asked | grep -q example.org || fail "this Chromium does not log what a page asks for"

# The page as it is: no requests, no errors.
open_page --dump-dom "file://$work/$page" >dom.html || fail "Chromium failed: $(tail -3 log)"
grep -q '</html>' dom.html || fail "the page did not open: $(tail -3 log)"
requests=$(asked)
[ -z "$requests" ] || fail "the page asks the network for $requests"
! grep CONSOLE log || fail "the browser complains (above)"

# Frames of three widths with the page, and a script that inspects them.
frames() {
    python3 - "$1" frames.html <<'PYTHON'
import html, sys
source, target = sys.argv[1:]
page = open(source, encoding="utf-8").read()
assert "default-src 'none';" in page and "<script" not in page, "the page allows what it should not"
probe = """addEventListener("load", () => {
  const facts = [...document.querySelectorAll("iframe")].map((frame) => {
    const d = frame.contentDocument, view = frame.contentWindow, width = view.innerWidth;
    d.querySelectorAll("details").forEach((e) => { e.open = true; });
    const all = (s) => [...d.querySelectorAll(s)], text = (e) => e.textContent.trim();
    const box = (e) => e.getBoundingClientRect(), style = (e) => view.getComputedStyle(e);
    const drawn = (e) => box(e).width > 100 && box(e).height > 50;
    const texts = all("body *").filter((e) => !e.closest("svg") &&
      [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()));
    const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    const over = all(".x, .y").flatMap((axis) => {
      const boxes = [...axis.children].map(box);
      return boxes.filter((a, i) => boxes.slice(i + 1).some((b) => meet(a, b))).map(() => text(axis));
    });
    const light = (rgb) => rgb.match(/[\d.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.04 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (e) => style(e).backgroundColor.endsWith(", 0)") && e.parentElement
      ? ground(e.parentElement) : style(e).backgroundColor;
    const contrast = (e) => {
      const [a, b] = [light(style(e).color), light(ground(e))].sort((a, b) => b - a);
      return (a + 0.05) / (b + 0.05);
    };
    return {
      width, wide: d.documentElement.scrollWidth - width,
      sections: all("h2").map(text), headings: all("h3").map(text),
      pictures: all("img").length,
      shown: all("img").filter((i) => i.complete && i.naturalWidth > 0 && drawn(i)).length,
      figures: all("svg").length, drawn: all("svg").filter(drawn).length,
      curves: all("polyline").filter((p) => p.getTotalLength() > 20).length,
      bars: all("rect").length, clouds: all(".cloud").length, hints: all("figure .hint").length,
      values: all(".values dd").map(text), tiles: all(".tile .value").map(text),
      rows: all("td").length, configuration: all("pre").map(text).join("").length,
      smallest: Math.min(...texts.map((e) => parseFloat(style(e).fontSize))),
      outside: texts.filter((e) => !e.closest(".scroll, pre") &&
        (box(e).left < 0 || box(e).right > width + 0.5)).map(text),
      over, faint: texts.filter((e) => contrast(e) < 4.5).map((e) => text(e).slice(0, 40)),
      dark: light(style(d.documentElement).backgroundColor === "rgba(0, 0, 0, 0)"
        ? style(d.body).backgroundColor : style(d.documentElement).backgroundColor) < 0.2,
    };
  });
  document.body.innerHTML = "<pre id=facts>" + JSON.stringify(facts).replaceAll("<", " ") + "</pre>";
});"""
frame = '<iframe width="{}" height="3000" srcdoc="{}"></iframe>'
frames = "".join(frame.format(width, html.escape(page)) for width in (360, 800, 1600))
open(target, "w", encoding="utf-8").write(
    f'<!DOCTYPE html><meta charset="utf-8"><script>{probe}</script><body>{frames}</body>')
PYTHON
}

# Checks the facts of a page: its kind, and the scheme of colours that was asked for.
judge() {
    python3 - facts.html "$1" "$2" <<'PYTHON'
import html, json, re, sys
source, kind, scheme = sys.argv[1:]
found = re.search(r'<pre id="facts">(.*?)</pre>', open(source, encoding="utf-8").read(), re.S)
assert found, "the probe did not run"
for facts in json.loads(html.unescape(found.group(1))):
    def must(fact, what):
        if not fact:
            sys.exit(f"check_report: {kind}, {scheme}: {what}\n{json.dumps(facts, indent=1)}")
    must(facts["wide"] <= 0 and not facts["outside"], "something is wider than the window")
    must(facts["smallest"] >= 11, "a text is too small")
    must(not facts["over"], "labels lie over each other")
    must(not facts["faint"], "a text has too little contrast")
    must(facts["dark"] == (scheme == "dark"), "the wrong colours")
    must(facts["shown"] == facts["pictures"], "a picture is not shown")
    must(facts["drawn"] == facts["figures"], "a figure is not drawn")
    if kind == "search":
        must(len(facts["tiles"]) == 6, "the headline numbers")
        must({"Trials", "Parameters", "Best", "Space"} <= set(facts["sections"]), "sections are missing")
        for heading in ["Parallel coordinates", "Importance", "The two that matter most",
                        "Best configurations"]:
            must(heading in facts["headings"], f"'{heading}' is missing")
        must(facts["figures"] == 4 and facts["curves"] >= 8, "curves are missing")
        must(facts["bars"] >= 24 * 24, "the contour is missing")
        continue
    must(len(facts["tiles"]) == 8, "the headline numbers")
    must({"Configuration", "Environment"} <= set(facts["sections"]), "sections are missing")
    must(facts["configuration"] > 500, "the configuration is missing")
    if kind == "begun":
        must(facts["tiles"][0] == "–" and facts["rows"] >= 8, "a run without an epoch has no losses")
        continue
    sections = ["Pictures", "Losses", "Latents", "Equilibria", "Sweeps of the last epoch",
                "Gradients and speed",
                "Latent space", "Last epoch"]
    must(set(sections) <= set(facts["sections"]), "sections are missing")
    must(("Scores" in facts["sections"]) == (kind == "run"), "scores")
    last = {"run": 3, "short": 1}[kind]
    for heading in [f"Samples, epoch {last}", f"Reconstructions, epoch {last}", "Interpolation",
                    "Plane of latents", "KL divergence of each latent"]:
        must(heading in facts["headings"], f"'{heading}' is missing")
    must(facts["hints"] >= 14, "sentences on what good looks like are missing")
    must(facts["bars"] >= 8 and facts["clouds"] == 10, "histograms or latents are missing")
    must(facts["rows"] >= 40, "numbers are missing")
    if kind == "run":
        must(facts["curves"] >= 14 and facts["pictures"] >= 6, "curves or pictures are missing")
    else:
        must(facts["curves"] == 0 and len(facts["values"]) >= 14, "one epoch is numbers")
print(f"report, {kind}, {scheme}: {facts['figures']} figures, {facts['pictures']} pictures")
PYTHON
}

for kind in run short begun search; do
    frames "$kind.html"
    for scheme in dark light; do
        number=$([ "$scheme" = dark ] && echo 0 || echo 1)
        open_page --blink-settings=preferredColorScheme="$number" --dump-dom \
            "file://$work/frames.html" >facts.html || fail "Chromium failed: $(tail -3 log)"
        ! grep CONSOLE log || fail "the browser complains (above)"
        judge "$kind" "$scheme"
    done
done
[ -n "$shots" ] || exit 0
mkdir -p "$shots"
for kind in run short begun search; do
    for width in 360 800 1600; do
        python3 - "$kind.html" "$width" shot.html <<'PYTHON'
import html, sys
source, width, target = sys.argv[1:]
page = html.escape(open(source, encoding="utf-8").read())
open(target, "w", encoding="utf-8").write(
    '<!DOCTYPE html><style>body { margin: 0 } iframe { border: 0; height: 100vh }</style>'
    f'<iframe width="{width}" srcdoc="{page}"></iframe>')
PYTHON
        for number in 0 1; do
            open_page --blink-settings=preferredColorScheme="$number" \
                --window-size="$((width < 500 ? 500 : width)),6000" \
                --screenshot="$shots/$kind-$width-$number.png" "file://$work/shot.html" ||
                fail "no screenshot: $(tail -3 log)"
        done
    done
done
echo "screenshots in $shots"
