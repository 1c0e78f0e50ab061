// The level of a recording, as `dse_hf/models/modeling_level.py` measures it: the network knows usual levels only.

const QUIET = 10 ** (-40 / 20); // RMS of a recording that the network hears as it is
const MOST = 2 ** 16;
const BLOCK_SECONDS = 0.1;
const SHARE_BELOW = 0.9; // of the blocks that hold sound. The rest may be bumps and clicks

/** Measures a recording that comes in blocks. `gain()` is the factor for the network. */
export class LevelMeter {
  constructor(rate) {
    this.length = Math.max(1, Math.round(BLOCK_SECONDS * rate));
    this.peak = 0;
    this.powers = []; // mean power of each block that holds sound
    this.sum = 0;
    this.count = 0;
  }

  /** Adds planes, C arrays of n samples. */
  push(planes) {
    for (let i = 0; i < planes[0].length; i++) {
      let power = 0;
      for (const plane of planes) {
        this.peak = Math.max(this.peak, Math.abs(plane[i]));
        power += plane[i] ** 2;
      }
      this.sum += power / planes.length;
      if (++this.count === this.length) this.#end();
    }
  }

  #end() {
    if (this.sum > 0) this.powers.push(this.sum / this.count);
    this.sum = this.count = 0;
  }

  /**
   * A power of two that brings nine tenths of the sound to -40 dBFS if they are all below that. It brings a peak above
   * full scale below it. It is 1 for every other recording, and for silence.
   */
  gain() {
    if (this.count) this.#end();
    if (this.peak > 1) return 2 ** -Math.ceil(Math.log2(this.peak));
    if (!this.powers.length) return 1;
    const sorted = Float64Array.from(this.powers).sort();
    const level = Math.sqrt(sorted[Math.ceil(SHARE_BELOW * (sorted.length - 1))]);
    const room = 2 ** Math.floor(-Math.log2(this.peak)); // up to full scale
    return Math.max(1, Math.min(2 ** Math.ceil(Math.log2(QUIET / level)), room, MOST));
  }
}
