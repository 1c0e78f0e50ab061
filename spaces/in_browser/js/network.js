// The network in ONNX Runtime Web, and exact tiles: the samples are those of one pass over the whole sound.

import { joined } from "./resample.js";

/** How the network can be computed. Smaller numbers of bytes are of the program that is downloaded for it. */
export const BACKENDS = {
  webgpu: { title: "graphics processor (WebGPU)", program: "webgpu", provider: "webgpu" },
  threads: { title: "processor, several threads", program: "wasm", provider: "wasm" },
  single: { title: "processor, one thread", program: "wasm", provider: "wasm" },
};
const MAX_THREADS = 8;

/** The names of the backends that this browser has, the fastest first. */
export async function availableBackends() {
  const names = ["single"];
  if (self.crossOriginIsolated && navigator.hardwareConcurrency > 1) names.unshift("threads");
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    // An adapter without a graphics processor is slower than the processor itself.
    if (adapter?.info?.isFallbackAdapter ?? adapter?.isFallbackAdapter) names.push("webgpu");
    else if (adapter) names.unshift("webgpu");
  } catch {
    // No WebGPU, then.
  }
  return names;
}

/** What a backend computes is not what the model computes. */
export class WrongResults extends Error {}

/** Loads the program and the model, and checks them. `bytesOf(path)` fetches a file of the page. */
export async function loadNetwork(backend, model, bytesOf) {
  const { program, provider } = BACKENDS[backend];
  const [binary, weights] = [await bytesOf(`vendor/ort.${program}.bin`), await bytesOf(model.file)];
  const ort = await import(`../vendor/ort.${program}.js`);
  ort.env.wasm.wasmBinary = binary;
  ort.env.wasm.wasmPaths = { mjs: new URL(`../vendor/ort.${program}.glue.js`, import.meta.url).href };
  ort.env.wasm.numThreads = backend === "threads" ? Math.min(MAX_THREADS, navigator.hardwareConcurrency) : 1;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(new Uint8Array(weights), { executionProviders: [provider], logSeverityLevel: 3 });
  const run = async (window) => {
    const outputs = await session.run({ mixture: new ort.Tensor("float32", window, [1, 1, window.length]) });
    const sources = await outputs.sources.getData();
    outputs.sources.dispose();
    return sources.subarray(0, window.length); // the first source is the foreground
  };
  await check(run, model.check);
  return run;
}

/** Drivers of graphics processors have errors, and so has what computes on them. build.py knows some right samples. */
async function check(run, expected) {
  const foreground = await run(Float32Array.from({ length: 3000 }, (_, i) => 0.3 * Math.sin(1e-4 * i * i)));
  if (expected.some((value, i) => !(Math.abs(foreground[100 * i] - value) < 1e-3))) throw new WrongResults();
}

/** Brings a sound to another level before the network, and back after it. The factor is a power of two. */
export function atLevel(run, gain) {
  if (gain === 1) return run;
  return async (window) => (await run(window.map((value) => value * gain))).map((value) => value / gain);
}

/** Runs the network on a sound and on its negative, and takes half the difference: better, in twice the time. */
export function bothPolarities(run) {
  return async (window) => {
    const upright = (await run(window)).slice();
    const flipped = await run(window.map((value) => -value));
    return upright.map((value, i) => (value - flipped[i]) / 2);
  };
}

/**
 * Takes blocks of one channel at the model's rate, and gives its foreground tile by tile.
 *
 * A window starts on the network's grid, and reaches `context` samples beyond both ends of the samples that are kept.
 */
export class Tiles {
  constructor(run, { alignment, context }, tileLength) {
    this.run = run;
    this.context = context;
    this.tileLength = Math.ceil(tileLength / alignment) * alignment;
    this.buffer = new Float32Array(0); // the input from `start` on
    this.start = 0;
    this.received = 0;
    this.finished = 0;
  }

  push(block) {
    this.buffer = joined(this.buffer, block);
    this.received += block.length;
  }

  /** Computes the next tile if its context is there, or at the end of the sound. Returns null if there is none. */
  async next(atEnd = false) {
    const length = Math.min(this.tileLength, this.received - this.finished);
    const end = this.finished + this.tileLength + this.context;
    if (length <= 0 || (!atEnd && this.received < end)) return null;
    const from = Math.max(0, this.finished - this.context);
    const window = this.buffer.slice(from - this.start, Math.min(end, this.received) - this.start);
    const foreground = await this.run(window);
    const tile = foreground.slice(this.finished - from, this.finished - from + length);
    this.finished += length;
    const needed = Math.max(0, this.finished - this.context);
    this.buffer = this.buffer.slice(needed - this.start);
    this.start = needed;
    return tile;
  }
}
