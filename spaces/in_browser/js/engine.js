// The page's side of the worker: one job at a time, which can be cancelled.

export class Cancelled extends Error {}

export class Engine {
  #worker = null;
  #job = null; // { resolve, reject, report }

  /** What the worker's `describe` tells. */
  describe() {
    return this.#do({ type: "describe" });
  }

  /** Separates a file. `report(message)` is called with what is downloaded, and with the progress. */
  separate(file, { backend, best }, report) {
    return this.#do({ type: "separate", file, backend, best }, report);
  }

  /** Ends the job, whose promise is rejected with `Cancelled`. The next one starts a new worker. */
  cancel() {
    this.#end(new Cancelled());
  }

  #do(message, report = () => {}) {
    if (this.#job) throw new Error("busy");
    this.#worker ??= this.#start();
    return new Promise((resolve, reject) => {
      this.#job = { resolve, reject, report };
      this.#worker.postMessage(message);
    });
  }

  #start() {
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => this.#heard(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#end(new Error("The page could not start its work: load it again, in a browser of the last two years."));
    };
    return worker;
  }

  async #heard(message) {
    if (message.type === "decode") {
      const worker = this.#worker;
      const value = await decodeWhole(message.file, message.rate);
      worker.postMessage({ type: "answer", value }, value ? value.map((plane) => plane.buffer) : []);
    } else if (message.type === "done" || message.type === "failed") {
      const job = this.#job;
      this.#job = null;
      if (message.type === "done") job.resolve(message.value);
      else job.reject(Object.assign(new Error(message.text), { known: message.known }));
    } else {
      this.#job?.report(message);
    }
  }

  #end(error) {
    this.#worker?.terminate();
    this.#worker = null;
    const job = this.#job;
    this.#job = null;
    job?.reject(error);
  }
}

/** Decodes a file as a whole, which a worker cannot do. Returns planes, or null if the browser cannot read it. */
async function decodeWhole(file, rate) {
  try {
    const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
    return Array.from({ length: sound.numberOfChannels }, (_, c) => sound.getChannelData(c).slice());
  } catch {
    return null;
  }
}
