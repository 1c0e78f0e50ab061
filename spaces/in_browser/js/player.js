// Plays foreground and background together, each through a gain: so their balance changes while they play.

import { readFrames } from "./wav.js";

const CHUNK_SECONDS = 2;
const AHEAD_SECONDS = 4; // that are read and scheduled before they are heard
const RATES = [8000, 96000]; // that browsers play without resampling each chunk, in Hz

export class Player {
  /** `result` is that of the worker; `changed()` is called when the player starts, stops or ends by itself. */
  constructor({ files, format, frames }, changed) {
    this.blobs = [files.foreground, files.background];
    this.format = format;
    this.frames = frames;
    this.changed = changed;
    this.playing = false;
    this.offset = 0; // seconds, where it plays from
    this.gains = [1, 0];
    this.run = 0; // counts starts, so that chunks of an earlier one are not scheduled
  }

  get seconds() {
    return this.frames / this.format.rate;
  }

  /** The position in seconds. */
  get position() {
    if (!this.playing) return this.offset;
    return Math.min(this.seconds, Math.max(this.offset, this.offset + this.context.currentTime - this.started));
  }

  async play() {
    if (!this.context) {
      const { rate } = this.format;
      this.context = new AudioContext(rate >= RATES[0] && rate <= RATES[1] ? { sampleRate: rate } : {});
      this.nodes = this.gains.map((gain) => new GainNode(this.context, { gain }));
      for (const node of this.nodes) node.connect(this.context.destination);
    }
    await this.context.resume();
    if (this.offset >= this.seconds) this.offset = 0;
    const run = ++this.run;
    this.playing = true;
    this.started = this.context.currentTime + 0.1;
    this.changed();
    this.scheduled = [];
    await this.#schedule(run);
  }

  pause() {
    if (!this.playing) return;
    this.offset = this.position;
    this.#stop();
    this.changed();
  }

  async seek(seconds) {
    const playing = this.playing;
    if (playing) this.#stop();
    this.offset = Math.min(Math.max(0, seconds), this.seconds);
    if (playing) await this.play();
  }

  /** Sets how loud foreground and background are, from 0 to 1. */
  balance(foreground, background) {
    this.gains = [foreground, background];
    this.nodes?.forEach((node, i) => node.gain.setTargetAtTime(this.gains[i], this.context.currentTime, 0.02));
  }

  close() {
    this.#stop();
    this.context?.close();
  }

  #stop() {
    this.playing = false;
    this.run += 1;
    for (const source of this.scheduled ?? []) {
      source.onended = null;
      source.stop();
    }
    this.scheduled = [];
  }

  async #schedule(run) {
    const { rate, channels } = this.format;
    const first = Math.floor(this.offset * rate);
    for (let at = first; at < this.frames && run === this.run; ) {
      const time = this.started + (at - first) / rate;
      const early = time - AHEAD_SECONDS - this.context.currentTime;
      if (early > 0) {
        await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(early, 0.5)));
        continue;
      }
      const end = Math.min(this.frames, at + CHUNK_SECONDS * rate);
      const parts = await Promise.all(this.blobs.map((blob) => readFrames(blob, this.format, at, end)));
      if (run !== this.run) return;
      parts.forEach((planes, i) => {
        const buffer = new AudioBuffer({ length: end - at, numberOfChannels: channels, sampleRate: rate });
        planes.forEach((plane, c) => buffer.copyToChannel(plane, c));
        const source = new AudioBufferSourceNode(this.context, { buffer });
        source.connect(this.nodes[i]);
        source.start(time);
        source.onended = () => {
          this.scheduled = this.scheduled.filter((other) => other !== source);
          if (end === this.frames && run === this.run) this.#ended();
        };
        this.scheduled.push(source);
      });
      at = end;
    }
  }

  #ended() {
    this.#stop();
    this.offset = this.seconds;
    this.changed();
  }
}
