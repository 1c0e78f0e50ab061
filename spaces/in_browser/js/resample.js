// Changes the sampling rate of a stream as soxr does it at its quality "VHQ", which dse-hf uses.
//
// soxr's kernel is a sinc under a Kaiser window. These numbers were fitted to its response to impulses: of ratios of
// small numbers, such as 3 : 1, and of others, such as 441 : 160, for which soxr combines several filters.

// Cutoff in units of the lower Nyquist frequency, half the length in samples of the lower rate, and Kaiser's β.
const SMALL_RATIO = { cutoff: 0.955664, half: 132.83, shape: 18.4335 };
const OTHER_RATIO = { cutoff: 0.95564, half: 152, shape: 23.2 };

/** Resamples blocks of one channel. Every sample keeps its time, and beyond both ends there is silence. */
export class Resampler {
  constructor(inputRate, outputRate) {
    const divisor = greatestDivisor(inputRate, outputRate);
    this.up = outputRate / divisor;
    this.down = inputRate / divisor;
    this.received = 0;
    this.given = 0;
    if (this.up === this.down) return;
    const nyquist = Math.min(1, this.up / this.down); // of the lower rate, in units of the input's
    const { cutoff, half, shape } = Math.max(this.up, this.down) < 5 ? SMALL_RATIO : OTHER_RATIO;
    this.cutoff = cutoff * nyquist;
    this.half = half / nyquist; // input samples
    this.shape = shape;
    this.reach = Math.ceil(this.half);
    this.taps = 2 * this.reach + 1;
    this.kernels = new Array(this.up); // one for each fraction of an input sample
    this.buffer = new Float32Array(this.reach); // the input from `start` on
    this.start = -this.reach;
  }

  /** Takes a block, and returns the samples that are finished. */
  push(block) {
    this.received += block.length;
    if (this.up === this.down) return this.#give(block);
    this.buffer = joined(this.buffer, block);
    // Output sample n lies at n·down/up, and needs `reach` input samples after the one before it.
    const ready = Math.ceil(((this.received - this.reach) * this.up) / this.down);
    return this.#give(this.#compute(Math.max(0, ready - this.given)));
  }

  /** Returns the remaining samples, so that there are `total` of them; by default, the input's length, rounded up. */
  flush(total = Math.ceil((this.received * this.up) / this.down)) {
    const missing = Math.max(0, total - this.given);
    if (this.up === this.down) return this.#give(new Float32Array(missing));
    const end = Math.ceil((total * this.down) / this.up) + this.reach + 1;
    this.buffer = joined(this.buffer, new Float32Array(Math.max(0, end - this.start - this.buffer.length)));
    return this.#give(this.#compute(missing));
  }

  #give(samples) {
    this.given += samples.length;
    return samples;
  }

  #compute(count) {
    const output = new Float32Array(count);
    for (let n = 0; n < count; n++) {
      const position = (this.given + n) * this.down;
      const first = Math.floor(position / this.up) - this.reach - this.start;
      const kernel = this.#kernel(position % this.up);
      let sum = 0;
      for (let k = 0; k < this.taps; k++) sum += kernel[k] * this.buffer[first + k];
      output[n] = sum;
    }
    const needed = Math.floor(((this.given + count) * this.down) / this.up) - this.reach;
    this.buffer = this.buffer.slice(needed - this.start);
    this.start = needed;
    return output;
  }

  #kernel(phase) {
    if (this.kernels[phase]) return this.kernels[phase];
    const kernel = new Float32Array(this.taps);
    for (let k = 0; k < this.taps; k++) {
      const time = k - this.reach - phase / this.up;
      if (Math.abs(time) > this.half) continue;
      const window = bessel(this.shape * Math.sqrt(1 - (time / this.half) ** 2)) / bessel(this.shape);
      const angle = Math.PI * this.cutoff * time;
      kernel[k] = this.cutoff * window * (time === 0 ? 1 : Math.sin(angle) / angle);
    }
    return (this.kernels[phase] = kernel);
  }
}

export function joined(first, second) {
  const both = new Float32Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

function greatestDivisor(a, b) {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

/** The modified Bessel function of the first kind, of order 0. */
function bessel(x) {
  let sum = 1;
  for (let k = 1, term = 1; term > 1e-17 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}
