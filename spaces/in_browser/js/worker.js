// The worker: it separates while the page stays free. The page ends it to cancel.

import { fetchBytes, loadManifest, missingBytes } from "./downloads.js";
import { BACKENDS, WrongResults, availableBackends, loadNetwork } from "./network.js";
import { Refusal, openSound } from "./read.js";
import { separate } from "./separate.js";
import { openFolder } from "./wav.js";

let manifest = null;
let loaded = null; // { backend, computed, run }: the one that was asked for, and the one that computes
let answerFromPage = null; // to the last question

const jobs = { describe, separate: separateFile };

self.onmessage = async ({ data }) => {
  if (data.type === "answer") return answerFromPage(data.value);
  try {
    self.postMessage({ type: "done", value: await jobs[data.type](data) });
  } catch (error) {
    self.postMessage({ type: "failed", text: textOf(error), known: error instanceof Refusal });
    if (!(error instanceof Refusal)) console.warn(error);
  }
};

/** What the browser has, and what each choice would still download. */
async function describe() {
  manifest ??= await loadManifest();
  const backends = {};
  for (const name of await availableBackends()) {
    backends[name] = { title: BACKENDS[name].title, missing: await missingBytes(manifest, filesOf(name)) };
  }
  return { backends, model: manifest.model };
}

async function separateFile({ file, backend, best }) {
  manifest ??= await loadManifest();
  const sound = await openSound(file, (blob, rate) => ask({ type: "decode", file: blob, rate }));
  if (loaded?.backend !== backend) loaded = await load(backend);
  const folder = await openFolder();
  const started = performance.now();
  let separating = started;
  const progress = (frames, phase) => {
    const now = performance.now();
    if (phase === "reading") separating = now;
    const [done, total] = [frames / sound.rate, sound.frames / sound.rate];
    self.postMessage({ type: phase, done, total, elapsed: (now - separating) / 1000 });
  };
  progress(0, "reading");
  const result = await separate(sound, { run: loaded.run, model: manifest.model, best, folder, progress });
  return { ...result, backend: loaded.computed, elapsed: (performance.now() - started) / 1000 };
}

async function load(backend) {
  const total = await missingBytes(manifest, filesOf(backend));
  let done = 0;
  const report = (bytes) => self.postMessage({ type: "download", done: (done += bytes), total });
  report(0);
  const bytesOf = (path) => fetchBytes(manifest, path, report);
  try {
    return { backend, computed: backend, run: await loadNetwork(backend, manifest.model, bytesOf) };
  } catch (error) {
    if (backend !== "webgpu") throw error;
    const other = (await availableBackends()).find((name) => name !== "webgpu");
    console.warn(error instanceof WrongResults ? "WebGPU computes wrong results here" : error);
    return { backend, computed: other, run: await loadNetwork(other, manifest.model, bytesOf) };
  }
}

function filesOf(backend) {
  return [`vendor/ort.${BACKENDS[backend].program}.bin`, manifest.model.file];
}

function ask(question) {
  self.postMessage(question);
  return new Promise((resolve) => (answerFromPage = resolve));
}

function textOf(error) {
  if (error instanceof Refusal) return error.message;
  if (error.name === "QuotaExceededError") return "The browser has no more room for the results: choose a shorter sound.";
  if (error instanceof TypeError && /fetch|network|arrived|answered/i.test(error.message)) {
    return "The model could not be downloaded: check the connection, and try again.";
  }
  if (error instanceof RangeError || /memory|bad_alloc/i.test(error.message)) {
    return "The browser has no more memory for this: close other pages, or choose one thread under “Settings”.";
  }
  return `This did not work (${String(error.message || error).split("\n")[0].slice(0, 120)}): try again, or choose another file.`;
}
