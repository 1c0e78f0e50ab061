// The page: what the visitor chooses, the progress, and the messages. `result.js` shows the result.

import { Cancelled, Engine } from "./engine.js";
import { startRecording } from "./record.js";
import { ResultView, duration } from "./result.js";

const element = (id) => document.getElementById(id);
const engine = new Engine();
const view = new ResultView();
let backends = {}; // as the worker describes them
let busy = false;
let runs = 0; // that have ended
let described = null; // the last call of `describe`
let ended = null; // ends the recording that goes on

async function separate(file, name = file.name) {
  if (busy) return;
  busy = true;
  setBusy(true);
  say("");
  view.hide();
  element("state").textContent = `Reading ${name} …`;
  element("bar").removeAttribute("value");
  announce(`Separating ${name}`);
  try {
    await described;
    const options = { backend: element("backend").value, best: element("best").checked };
    const result = await engine.separate(file, options, report);
    view.show(result, name);
    announce(`Done: ${duration(result.frames / result.format.rate)} of sound are separated.`);
  } catch (error) {
    if (error instanceof Cancelled) announce("Cancelled");
    else say(error.message);
  }
  busy = false;
  setBusy(false);
  described = describe();
  document.body.dataset.done = ++runs; // for tests
}

function report(message) {
  const { done, total } = message;
  if (total > 0) element("bar").value = Math.min(1, done / total);
  if (message.type === "download") {
    element("state").textContent = total
      ? `Downloading the model, once: ${megabytes(done)} of ${megabytes(total)}`
      : "Starting the model …";
    return;
  }
  if (message.type === "reading") {
    element("state").textContent = `Reading: ${duration(done)} of ${duration(total)}`;
    return;
  }
  const speed = done / Math.max(message.elapsed, 1e-9);
  const left = done > 0 ? `, ${speed.toFixed(1)} times real time, ${duration((total - done) / speed)} left` : "";
  element("state").textContent = `${duration(done)} of ${duration(total)}${left}`;
}

function setBusy(on) {
  element("work").hidden = !on;
  for (const control of document.querySelectorAll("#examples button, #file, #record, #backend, #best")) {
    control.disabled = on;
  }
  if (on) element("cancel").focus();
}

function say(text) {
  element("message").textContent = text;
  element("message").hidden = !text;
}

function announce(text) {
  element("announce").textContent = text;
}

/** Fills the list of ways to compute, and tells what the first start downloads. */
async function describe() {
  try {
    ({ backends } = await engine.describe());
  } catch (error) {
    return say(error.message);
  }
  const select = element("backend");
  const chosen = select.value;
  select.replaceChildren(...Object.entries(backends).map(([name, { title }]) => new Option(title, name)));
  if (chosen in backends) select.value = chosen;
  select.options[0].text += " – the fastest here";
  tellDownload();
}

function tellDownload() {
  const missing = backends[element("backend").value]?.missing;
  element("first").hidden = !missing;
  element("first").textContent =
    `The first start downloads ${megabytes(missing)}. After that, the page works without any network.`;
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

async function separateExample(button) {
  try {
    const answer = await fetch(button.dataset.example);
    if (!answer.ok) throw new Error();
    const name = button.dataset.example.split("/").pop();
    await separate(new File([await answer.blob()], name), name);
  } catch {
    say("The example could not be loaded: check the connection, and try again.");
  }
}

async function record() {
  if (ended) {
    const end = ended;
    ended = null;
    element("record").textContent = "Record";
    return separate(await end());
  }
  try {
    ended = await startRecording();
    element("record").textContent = "■ Stop and separate";
    say("");
  } catch {
    say("The microphone cannot be used: allow it for this page, or choose a file.");
  }
}

function listen() {
  element("file").addEventListener("change", ({ target }) => {
    if (target.files.length) separate(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
  const drop = element("drop");
  for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", type === "dragenter" || type === "dragover");
    });
  }
  document.addEventListener("drop", ({ dataTransfer }) => {
    if (dataTransfer.files.length) separate(dataTransfer.files[0]);
  });
  for (const button of document.querySelectorAll("[data-example]")) {
    button.addEventListener("click", () => separateExample(button));
  }
  element("cancel").addEventListener("click", () => {
    engine.cancel();
    element("choose-label").querySelector("input").focus();
  });
  element("record").addEventListener("click", record);
  element("backend").addEventListener("change", tellDownload);
}

async function startServiceWorker() {
  try {
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
    // A server that sends no headers for threads: the service worker adds them from the next load on.
    if (!self.crossOriginIsolated && !busy && !sessionStorage.getItem("reloaded")) {
      sessionStorage.setItem("reloaded", "yes");
      location.reload();
    }
  } catch {
    // Without it, the page needs the network at each visit.
  }
}

listen();
view.listen();
described = describe();
startServiceWorker();
