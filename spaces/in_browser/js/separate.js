// From a sound to its foreground and background, in constant memory.

import { LevelMeter } from "./level.js";
import { PictureMaker } from "./picture.js";
import { Refusal } from "./read.js";
import { Resampler } from "./resample.js";
import { Tiles, atLevel, bothPolarities } from "./network.js";
import { WavWriter, freeBytes, quantize } from "./wav.js";

const TILE_SECONDS = 16; // longer ones are a little faster, and take more memory

/**
 * Separates a sound of `openSound`. Calls `progress(frames, phase)` with the samples that are done; the first phase,
 * "reading", measures the level.
 *
 *     sound ─┬─▶ resample ─▶ network ─▶ resample back ─▶ foreground
 *            └─▶ queue ──────────────────────────────────▶ minus the foreground: background
 *
 * Returns the format, the number of frames, the two files and the pictures.
 */
export async function separate(sound, { run, model, best, folder, progress }) {
  const format = { rate: sound.rate, channels: sound.channels, bits: sound.bits, float: sound.float };
  const needed = (2 * sound.frames * sound.channels * sound.bits) / 8;
  if (needed > (await freeBytes(folder))) {
    const gigabytes = (needed / 1e9).toFixed(1);
    throw new Refusal(`The results would take ${gigabytes} GB, more than this browser may store: choose a shorter sound.`);
  }
  const writers = {
    foreground: await WavWriter.create(folder, "foreground.wav", format),
    background: await WavWriter.create(folder, "background.wav", format),
  };
  const gain = model.level_invariant ? 1 : await levelGain(sound, (frames) => progress(frames, "reading"));
  const compute = atLevel(best ? bothPolarities(run) : run, gain);
  const pictures = new PictureMaker(["input", "foreground", "background"], sound.frames, sound.rate);
  const channels = Array.from({ length: sound.channels }, () => new Channel(sound.rate, model, compute));
  let frames = 0;
  progress(frames, "separating");

  const emit = (parts) => {
    if (!parts[0].length) return;
    const length = parts[0].length;
    const mixture = channels.map((channel) => channel.take(length));
    const foreground = parts.map((part) => quantize(part, format));
    const background = mixture.map((plane, c) =>
      quantize(plane.map((value, i) => value - foreground[c][i]), format),
    );
    if (!background.every((plane) => plane.every(Number.isFinite))) {
      throw new Refusal("The sound holds samples that are no numbers, or is far too loud: repair it, or choose another one.");
    }
    writers.foreground.write(foreground);
    writers.background.write(background);
    pictures.push({ input: mixture, foreground, background });
    frames += length;
    progress(frames, "separating");
  };

  for await (const planes of sound.blocks()) {
    channels.forEach((channel, c) => channel.push(planes[c]));
    for (let tile; (tile = await nextTile(channels)); ) emit(tile);
  }
  channels.forEach((channel) => channel.end());
  for (let tile; (tile = await nextTile(channels, true)); ) emit(tile);
  emit(channels.map((channel) => channel.rest()));
  if (!frames) throw new Refusal("The file has no sound: choose another one.");
  const files = { foreground: await writers.foreground.finish(), background: await writers.background.finish() };
  return { format, frames, files, pictures: pictures.finish() };
}

async function levelGain(sound, progress) {
  const meter = new LevelMeter(sound.rate);
  let frames = 0;
  for await (const planes of sound.blocks()) {
    meter.push(planes);
    progress((frames += planes[0].length));
  }
  return meter.gain();
}

async function nextTile(channels, atEnd = false) {
  const parts = [];
  for (const channel of channels) {
    const part = await channel.next(atEnd);
    if (!part) return null; // all channels have the same length
    parts.push(part);
  }
  return parts;
}

/** One channel: its samples that wait for their foreground, and the way through the network and back. */
class Channel {
  constructor(rate, model, run) {
    this.toModel = new Resampler(rate, model.sampling_rate);
    this.toFile = new Resampler(model.sampling_rate, rate);
    this.tiles = new Tiles(run, model, TILE_SECONDS * model.sampling_rate);
    this.waiting = []; // blocks of the input
    this.received = 0;
  }

  push(block) {
    this.waiting.push(block);
    this.received += block.length;
    this.tiles.push(this.toModel.push(block));
  }

  end() {
    this.tiles.push(this.toModel.flush());
  }

  async next(atEnd) {
    const tile = await this.tiles.next(atEnd);
    return tile && this.toFile.push(tile);
  }

  rest() {
    return this.toFile.flush(this.received);
  }

  /** The next samples of the input. */
  take(length) {
    const taken = new Float32Array(length);
    for (let filled = 0; filled < length; ) {
      const part = this.waiting[0].subarray(0, length - filled);
      taken.set(part, filled);
      filled += part.length;
      if (part.length === this.waiting[0].length) this.waiting.shift();
      else this.waiting[0] = this.waiting[0].subarray(part.length);
    }
    return taken;
  }
}
