// The card "In this browser": fetches the runtime and the network on a click, and classifies pictures and the camera.
// Gradio runs this once, with `element` (the card's place) and `trigger`; WORKER is the text of in_browser_worker.js.
const AS_STORED = { imageOrientation: "from-image", colorSpaceConversion: "none" }; // values as in the file, upright
const BEST = 5;
let worker = null, stream = null, run = "", turn = 0;
const waiting = new Map();

const card = () => element.querySelector("[data-network]");
const part = (name) => card()?.querySelector(`[data-part="${name}"]`);
const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

function say(words, wrong = false) {
  const place = part("said");
  if (!place) return;
  place.textContent = words;
  place.dataset.say = words;
  place.classList.toggle("mw-wrong", wrong);
}

// "off", "busy", "ready" or "live": which buttons there are
function become(state) {
  for (const button of card()?.querySelectorAll("[data-when]") ?? []) button.hidden = !button.dataset.when.includes(state);
}

function ask(step, message, moved = []) {
  return new Promise((resolve, reject) => {
    waiting.set(++turn, { resolve, reject });
    worker.postMessage({ step, turn, ...message }, moved);
  });
}

function close() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  worker?.terminate();
  worker = null;
  waiting.forEach(({ reject }) => reject(new Error("closed")));
  waiting.clear();
}

function start() {
  const address = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
  worker = new Worker(address, { type: "module" });
  worker.onmessage = ({ data }) => {
    const one = waiting.get(data.turn);
    waiting.delete(data.turn);
    if (data.error) one?.reject(new Error(data.error));
    else one?.resolve(data);
  };
  worker.onerror = () => {
    waiting.forEach(({ reject }) => reject(new Error("this browser cannot run it")));
    waiting.clear();
  };
}

// The browser itself compares the checksum, and gives no byte of another file.
async function verified(address, integrity, host) {
  try {
    const answer = await fetch(address, { integrity, mode: "cors", credentials: "omit", referrerPolicy: "no-referrer" });
    if (answer.ok) return await answer.arrayBuffer();
  } catch { /* not there, or another file: asked below */ }
  const there = await fetch(address, { method: "HEAD", credentials: "omit", referrerPolicy: "no-referrer" }).catch(() => null);
  throw new Error(there?.ok
    ? `Off: a file from ${host} does not have the checksum that is expected here, so it was not run.`
    : `Off: ${host} cannot be reached from this browser. The runtimes on the server still work.`);
}

async function load() {
  const runtime = JSON.parse(card().dataset.runtime), network = JSON.parse(card().dataset.network);
  if (!navigator.onLine) {
    say("Off: this device has no network. Connect it, then try again.", true);
    return;
  }
  become("busy");
  say(`Loading onnxruntime-web ${runtime.version} (${runtime.megabytes} MB) …`);
  try {
    const files = await Promise.all(
      runtime.files.map(({ name, integrity }) => verified(runtime.base + name, integrity, new URL(runtime.base).host)),
    );
    say("Loading the network …");
    const answer = await fetch(network.address);
    if (!answer.ok) throw new Error("Off: the network’s ONNX is not on the server any more. Make it again.");
    const model = await answer.arrayBuffer();
    say("Starting …");
    start();
    await ask("open", { runtime: files[0], wasm: files[1], model }, [...files, model]);
    become("ready");
    say("Ready. It runs on this device: WebAssembly on its processor, one thread. Pictures stay on it.");
  } catch (error) {
    close();
    if (!card()) return;
    become("off");
    say(error.message.startsWith("Off") ? error.message : `Off: the network does not run in this browser (${error.message}).`, true);
  }
}

// the picture that the server was asked about
async function picture() {
  const image = document.querySelector("#train-answer [data-tried] img");
  if (!image) {
    say("Choose a picture above first.", true);
    return;
  }
  say("Classifying on this device …");
  part("answer").replaceChildren(); // what was said of another picture
  try {
    const content = await (await fetch(image.src)).blob();
    const bitmap = await createImageBitmap(content, AS_STORED);
    const found = await ask("classify", { bitmap }, [bitmap]);
    draw(found);
    const [best] = ranked(found.scores);
    say(`${best.name}, ${percent(best.score)}, in ${found.milliseconds.toFixed(0)} ms on this device${beside(found.scores)}`);
  } catch (error) {
    say(`This picture cannot be read in this browser (${error.message}).`, true);
  }
}

// how far PyTorch's probabilities of the same picture are
function beside(scores) {
  const theirs = JSON.parse(document.querySelector("#train-answer [data-tried]")?.dataset.tried || "{}");
  const far = Math.max(...names().map((name, k) => Math.abs(scores[k] - theirs[name])));
  return Number.isFinite(far) ? `; at most ${far.toFixed(4)} from PyTorch’s probabilities.` : ".";
}

async function camera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    say("A browser gives the camera to pages with an https address only.", true);
    return;
  }
  become("busy");
  try {
    const wanted = { video: { facingMode: "environment", width: { ideal: 640 } }, audio: false };
    stream = await navigator.mediaDevices.getUserMedia(wanted);
  } catch (error) {
    become("ready");
    say(error.name === "NotAllowedError" ? "The camera was not allowed. Allow it in the browser, then try again."
      : "No camera was found, or another program uses it.", true);
    return;
  }
  const video = part("camera"), mine = stream;
  video.srcObject = mine;
  video.hidden = false;
  await video.play();
  become("live");
  say("The camera runs; every frame is classified on this device and sent nowhere.");
  let pace = 0;
  while (stream === mine && part("camera") === video) {
    if (document.hidden || !element.checkVisibility()) {
      await wait(0.3);
      continue;
    }
    const began = performance.now();
    try {
      const bitmap = await createImageBitmap(video);
      const found = await ask("classify", { bitmap }, [bitmap]);
      if (stream !== mine) break;
      draw(found, pace);
    } catch {
      await wait(0.1); // the first frames of a camera may be empty
    }
    await new Promise(requestAnimationFrame);
    const now = 1000 / (performance.now() - began);
    pace = pace ? 0.8 * pace + 0.2 * now : now;
  }
  mine.getTracks().forEach((track) => track.stop());
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  const video = part("camera");
  if (video) {
    video.srcObject = null;
    video.hidden = true;
  }
  become("ready");
  say("The camera is off.");
}

const names = () => JSON.parse(card().dataset.network).classes;
const ranked = (scores) =>
  names().map((name, k) => ({ name, score: scores[k] })).sort((a, b) => b.score - a.score).slice(0, BEST);
const percent = (share) => `${(100 * share).toFixed(1)}%`;

// Class names come from a visitor's zip: text only, never HTML.
function draw({ scores, milliseconds }, pace = 0) {
  const table = document.createElement("table");
  table.className = "mw-scores";
  for (const { name, score } of ranked(scores)) {
    const row = table.insertRow(), bar = document.createElement("i");
    row.insertCell().textContent = name;
    bar.style.width = percent(score);
    row.insertCell().append(bar);
    row.insertCell().textContent = percent(score);
  }
  const line = document.createElement("small");
  const frames = pace ? `, ${pace.toFixed(pace < 10 ? 1 : 0)} frames/s` : "";
  line.textContent = `${milliseconds.toFixed(0)} ms on this device${frames}`;
  part("answer").replaceChildren(table, line);
  part("answer").dataset.scores = JSON.stringify(scores);
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do], [data-pick]");
  if (!button || !element.contains(button)) return;
  if (button.dataset.pick) trigger("click", { pick: button.dataset.pick });
  else ({ load, picture, camera, stop })[button.dataset.do]();
});

// another run is shown: its network is another one
new MutationObserver(() => {
  const shown = card()?.dataset.run ?? "";
  if (shown === run) return;
  run = shown;
  close();
}).observe(element, { childList: true, subtree: true });
run = card()?.dataset.run ?? "";
