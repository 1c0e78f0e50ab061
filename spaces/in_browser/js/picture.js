// What is drawn of long sounds: the waveform's extremes and the spectrogram, collected while the samples pass by.

export const COLUMNS = 600;
export const ROWS = 128; // of frequency, from 0 Hz to half the sampling rate
const FRAMES_IN_COLUMN = 4; // spectra that are averaged

/** Collects pictures of several signals of one length. */
export class PictureMaker {
  /** `frames` is the expected length: what comes after it falls into the last column. */
  constructor(names, frames, rate) {
    this.frames = Math.max(1, frames);
    this.size = 2 ** Math.round(Math.log2(Math.max(2 * ROWS, 0.023 * rate))); // samples of a spectrum: about 23 ms
    // Spectra begin this far apart. In a long sound, only some of its samples take part in them.
    this.hop = Math.max(this.size / 2, Math.floor(this.frames / (COLUMNS * FRAMES_IN_COLUMN)));
    this.transform = new Transform(this.size);
    this.signals = Object.fromEntries(names.map((name) => [name, new Signal(this.size)]));
  }

  /** `blocks`: name → planes, C arrays of n samples, of which the mean is drawn. */
  push(blocks) {
    for (const [name, planes] of Object.entries(blocks)) {
      const mean = planes[0].map((_, i) => planes.reduce((sum, plane) => sum + plane[i], 0) / planes.length);
      this.#collect(this.signals[name], mean);
    }
  }

  #collect(signal, samples) {
    for (const value of samples) {
      const column = this.#column(signal.position);
      if (value < signal.low[column]) signal.low[column] = value;
      if (value > signal.high[column]) signal.high[column] = value;
      signal.energy += value * value;
      const at = signal.position % this.hop;
      if (at < this.size) signal.frame[at] = value;
      signal.position += 1;
      // Half the frames overlap if the hop is half the size: the second half begins the next frame.
      if (at === Math.min(this.size, this.hop) - 1) this.#spectrum(signal, column);
    }
  }

  #spectrum(signal, column) {
    const { size, hop } = this;
    let frame = signal.frame;
    if (hop < size) {
      signal.last.copyWithin(0, hop);
      signal.last.set(signal.frame.subarray(0, hop), size - hop);
      frame = signal.last;
    }
    const power = this.transform.power(frame);
    const bins = power.length / ROWS;
    for (let row = 0; row < ROWS; row++) {
      let sum = 0;
      for (let bin = Math.floor(row * bins); bin < (row + 1) * bins; bin++) sum += power[bin];
      signal.spectra[column * ROWS + row] += sum / bins;
    }
    signal.counts[column] += 1;
  }

  #column(position) {
    return Math.min(COLUMNS - 1, Math.floor((position / this.frames) * COLUMNS));
  }

  /** Name → `{low, high, decibels, level}`: COLUMNS extremes, COLUMNS × ROWS levels, and the RMS level in dBFS. */
  finish() {
    return Object.fromEntries(
      Object.entries(this.signals).map(([name, signal]) => [name, signal.finish()]),
    );
  }
}

class Signal {
  constructor(size) {
    this.position = 0;
    this.energy = 0;
    this.low = new Float32Array(COLUMNS);
    this.high = new Float32Array(COLUMNS);
    this.spectra = new Float32Array(COLUMNS * ROWS);
    this.counts = new Uint32Array(COLUMNS);
    this.frame = new Float32Array(size);
    this.last = new Float32Array(size);
  }

  finish() {
    const decibels = new Float32Array(COLUMNS * ROWS);
    let filled = Math.max(0, this.counts.findIndex((count) => count > 0));
    for (let column = 0; column < COLUMNS; column++) {
      if (this.counts[column]) filled = column; // a short sound has fewer spectra than columns
      for (let row = 0; row < ROWS; row++) {
        const mean = this.spectra[filled * ROWS + row] / Math.max(1, this.counts[filled]);
        decibels[column * ROWS + row] = 10 * Math.log10(mean + 1e-14);
      }
    }
    const level = 10 * Math.log10(this.energy / Math.max(1, this.position));
    return { low: this.low, high: this.high, decibels, level };
  }
}

/** Power spectra of real frames with a Hann window, by the fast Fourier transform of a power of two. */
class Transform {
  constructor(size) {
    this.size = size;
    this.window = Float64Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
    this.cosines = Float64Array.from({ length: size / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / size));
    this.sines = Float64Array.from({ length: size / 2 }, (_, i) => Math.sin((2 * Math.PI * i) / size));
    const bits = Math.log2(size);
    this.order = Uint32Array.from({ length: size }, (_, i) =>
      parseInt(i.toString(2).padStart(bits, "0").split("").reverse().join(""), 2),
    );
    this.real = new Float64Array(size);
    this.imaginary = new Float64Array(size);
  }

  /** The powers of size/2 frequencies. A sine of full scale has about 1. */
  power(frame) {
    const { size, real, imaginary } = this;
    for (let i = 0; i < size; i++) real[i] = frame[this.order[i]] * this.window[this.order[i]];
    imaginary.fill(0);
    for (let half = 1; half < size; half *= 2) {
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0; k < half; k++) this.#butterfly(start + k, start + k + half, (k * size) / (2 * half));
      }
    }
    const scale = 16 / (size * size); // of the window and of both halves of the spectrum
    return Float64Array.from({ length: size / 2 }, (_, i) => scale * (real[i] ** 2 + imaginary[i] ** 2));
  }

  #butterfly(a, b, angle) {
    const { real, imaginary } = this;
    const cosine = this.cosines[angle];
    const sine = this.sines[angle];
    const x = real[b] * cosine + imaginary[b] * sine;
    const y = imaginary[b] * cosine - real[b] * sine;
    real[b] = real[a] - x;
    imaginary[b] = imaginary[a] - y;
    real[a] += x;
    imaginary[a] += y;
  }
}
