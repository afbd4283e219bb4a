#!/usr/bin/env bash
# Opens the page of `hvae report` in headless Chromium, without a network, and checks that it is
# complete: sections, curves, images, no script errors, no requests.
#
#     bash scripts/check_report.sh                          # target/release/hvae
#     bash scripts/check_report.sh path/to/hvae page.png    # another binary; keeps a screenshot
#
# Builds nothing; needs python3. Installs Debian's `chromium` with apt if there is none; if that
# fails it says that nothing was checked, and succeeds.
set -euo pipefail
hvae=$(realpath -m "${1:-${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/release/hvae}")
screenshot=${2:+$(realpath "$2")}
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
"$hvae" train --quiet --dataset synthetic --train-images 256 --test-images 64 --batch-size 32 \
    --set 'model.hidden=[24]' --set model.latent=4 --epochs 3 --name run >/dev/null
page=$("$hvae" report --quiet checkpoints/run)

# Opens a page; its console goes to log, its requests to net.json.
open_page() {
    timeout 40 "$chromium" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
        --user-data-dir="$work/profile" --no-first-run --no-default-browser-check \
        --disable-background-networking --disable-component-update --disable-sync \
        --disable-default-apps --disable-extensions --disable-quic \
        --host-resolver-rules='MAP * ~NOTFOUND' --proxy-server='http://127.0.0.1:9' \
        --enable-logging=stderr --log-net-log="$work/net.json" --virtual-time-budget=5000 \
        --window-size=1280,4000 "$@" 2>"$work/log"
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

# A copy with a script that inspects the rendered page.
probe='<script>addEventListener("load", () => {
  const all = (s) => [...document.querySelectorAll(s)], text = (e) => e.textContent.trim();
  const box = (e) => e.getBoundingClientRect(), drawn = (e) => box(e).width > 100 && box(e).height > 50;
  const facts = {
    sections: all("h2").map(text), headings: all("h3").map(text),
    pictures: all("img").length,
    shown: all("img").filter((i) => i.complete && i.naturalWidth > 0 && drawn(i)).length,
    figures: all("figure svg").length, drawn: all("figure svg").filter(drawn).length,
    curves: all("svg polyline, svg path").filter((p) => p.getTotalLength() > 50).length,
    bars: all("svg rect").length, dots: all("svg circle").length,
    rows: all("td").length, configuration: all("pre").map(text).join("").length,
    wide: document.documentElement.scrollWidth - innerWidth,
  };
  document.body.innerHTML = "<pre id=facts>" + JSON.stringify(facts) + "</pre>";
});</script>'
python3 - "$page" copy.html "$probe" <<'PYTHON'
import sys
source, copy, probe = sys.argv[1:]
page = open(source, encoding="utf-8").read()
policy = "default-src 'none';"
assert policy in page and "<script" not in page, "the page allows what it should not"
page = page.replace(policy, policy + " script-src 'unsafe-inline';")
open(copy, "w", encoding="utf-8").write(page.replace("</body>", probe + "</body>"))
PYTHON
open_page --dump-dom "file://$work/copy.html" >facts.html || fail "Chromium failed: $(tail -3 log)"
! grep CONSOLE log || fail "the browser complains (above)"
python3 - facts.html <<'PYTHON'
import html, json, re, sys
found = re.search(r'<pre id="facts">(.*?)</pre>', open(sys.argv[1], encoding="utf-8").read(), re.S)
assert found, "the probe did not run"
facts = json.loads(html.unescape(found.group(1)))
def must(fact, what):
    if not fact:
        sys.exit(f"check_report: {what}\n{json.dumps(facts, indent=1)}")
sections = ["Curves", "Pictures", "Last epoch", "Configuration", "Environment"]
must(facts["sections"] == sections, "sections are missing")
epochs = ["Samples, epoch 1", "Samples, epoch 3", "Reconstructions, epoch 3"]
for heading in [*epochs, "Interpolation", "Plane of latents"]:
    must(heading in facts["headings"], f"the picture '{heading}' is missing")
must(facts["pictures"] >= 6 and facts["shown"] == facts["pictures"], "a picture is not shown")
must(facts["figures"] >= 4 and facts["drawn"] == facts["figures"], "a figure is not drawn")
must(facts["curves"] >= 8, "curves are missing")
must(facts["bars"] >= 4 and facts["dots"] >= 64, "histograms or latents are missing")
must(facts["rows"] >= 40 and facts["configuration"] > 500, "numbers or configuration are missing")
must(facts["wide"] <= 0, "the page is wider than the window")
print("report: {figures} figures with {curves} curves, {pictures} pictures, no request, no error"
      .format(**facts))
PYTHON
if [ -n "$screenshot" ]; then
    open_page --screenshot="$screenshot" "file://$work/$page" ||
        fail "no screenshot: $(tail -3 log)"
    echo "screenshot in $screenshot"
fi
