// Reads sound files in the worker, block by block. Mediabunny takes the containers apart, the browser decodes.

import { ALL_FORMATS, AudioSampleSink, BlobSource, Input, MP3, OGG } from "../vendor/mediabunny.js";

export const MAX_CHANNELS = 8;
const WHOLE_FILE_SECONDS = 20 * 60; // if the browser can only decode a file as a whole
// Codecs whose samples a result of 16 bits would round. Samples here are floats of 32 bits.
const LONGER_SAMPLES = /^pcm-(s24|s32|f32|f64)/;

/** What the visitor should read. Other errors are our own mistakes. */
export class Refusal extends Error {}

/**
 * Opens a file: `{rate, channels, frames, bits, float, blocks()}`. `blocks` yields planes, C arrays of n samples.
 * `decodeWhole(file, rate)` decodes a file on the page, for what cannot be decoded here.
 */
export async function openSound(file, decodeWhole) {
  if (file.size === 0) throw new Refusal("The file is empty: choose another one.");
  let track = null;
  let input = null;
  try {
    input = new Input({ source: new BlobSource(file), formats: ALL_FORMATS });
    track = await input.getPrimaryAudioTrack();
  } catch {
    // Not a container that Mediabunny knows: the browser may know it.
  }
  const sound = track && (await track.canDecode()) ? await streamed(file, input, track) : await whole(file, track, decodeWhole);
  if (sound.channels > MAX_CHANNELS) {
    throw new Refusal(`The file has ${sound.channels} channels: up to ${MAX_CHANNELS} are possible here.`);
  }
  return sound;
}

async function streamed(file, input, track) {
  const [rate, channels, codec] = await Promise.all([
    track.getSampleRate(),
    track.getNumberOfChannels(),
    track.getCodec(),
  ]);
  const container = await input.getFormat();
  const { delay, padding } = container === MP3 ? await encoderDelay(file) : { delay: 0, padding: 0 };
  // What the file says.
  const frames = Math.round((await track.computeDuration()) * rate) - delay - padding;
  // The last frame of these codecs is longer than what is left of the sound.
  const end = container === MP3 || container === OGG ? frames : Infinity;
  const [, kind] = LONGER_SAMPLES.exec(codec) ?? [];
  const float = kind !== undefined && kind !== "s24";
  return {
    rate,
    channels,
    frames,
    bits: float ? 32 : kind === "s24" ? 24 : codec === "flac" ? await flacBits(file) : 16,
    float,
    blocks: () => grouped(planesOfSamples(track, { rate, channels, delay, end }), rate),
  };
}

async function* planesOfSamples(track, { rate, channels, delay, end }) {
  let position = -delay; // of the sound
  for await (const sample of new AudioSampleSink(track).samples()) {
    const planes = planesOf(sample, channels, rate);
    // What comes before time 0 is not heard.
    if (position === 0) position = Math.min(0, Math.round(sample.timestamp * rate));
    sample.close();
    const [from, to] = [Math.max(0, -position), Math.min(planes[0].length, end - position)];
    position += planes[0].length;
    if (to > from) yield planes.map((plane) => plane.subarray(from, to));
  }
}

/** The samples that an mp3 begins and ends with besides the sound, which encoders write where LAME does. */
async function encoderDelay(file) {
  const DECODER = 529; // samples that every decoder of this codec is late
  const bytes = new Uint8Array(await file.slice(0, 1 << 16).arrayBuffer());
  const letters = new TextDecoder("latin1").decode(bytes);
  const tag = Math.max(letters.indexOf("Xing"), letters.indexOf("Info"));
  const at = tag + 141;
  if (tag < 0 || !/^(LAME|Lavc|Lavf)/.test(letters.slice(tag + 120))) return { delay: 0, padding: 0 };
  const delay = (bytes[at] << 4) | (bytes[at + 1] >> 4);
  const padding = ((bytes[at + 1] & 15) << 8) | bytes[at + 2];
  return { delay: delay + DECODER, padding: Math.max(0, padding - DECODER) };
}

/** Puts short blocks together to blocks of at least `length` samples. */
async function* grouped(blocks, length) {
  let group = [];
  let frames = 0;
  const together = () => {
    const planes = group[0].map((_, c) => {
      const plane = new Float32Array(frames);
      let at = 0;
      for (const block of group) {
        plane.set(block[c], at);
        at += block[c].length;
      }
      return plane;
    });
    [group, frames] = [[], 0];
    return planes;
  };
  for await (const planes of blocks) {
    group.push(planes);
    frames += planes[0].length;
    if (frames >= length) yield together();
  }
  if (frames) yield together();
}

function planesOf(sample, channels, rate) {
  if (sample.numberOfChannels !== channels || sample.sampleRate !== rate) {
    throw new Refusal("The sampling rate or the channels change within the file: convert it, for example to wav.");
  }
  return Array.from({ length: channels }, (_, planeIndex) => {
    const options = { planeIndex, format: "f32-planar" };
    const plane = new Float32Array(sample.allocationSize(options) / 4);
    sample.copyTo(plane, options);
    return plane;
  });
}

/** Bits of a sample: 16 up to 16, else 24. They stand in the header of every FLAC file. */
async function flacBits(file) {
  const bytes = new Uint8Array(await file.slice(0, 22).arrayBuffer());
  const bits = (((bytes[20] & 1) << 4) | (bytes[21] >> 4)) + 1;
  return String.fromCharCode(...bytes.slice(0, 4)) === "fLaC" && bits > 16 ? 24 : 16;
}

async function whole(file, track, decodeWhole) {
  const rate = track ? await track.getSampleRate() : 48000;
  const planes = await decodeWhole(file, rate);
  if (!planes || !planes[0].length) {
    throw new Refusal("No sound that this browser can read: choose a sound or video file, such as wav, flac, mp3 or m4a.");
  }
  const frames = planes[0].length;
  if (frames > WHOLE_FILE_SECONDS * rate) {
    throw new Refusal(
      `This browser reads such a file only up to ${WHOLE_FILE_SECONDS / 60} minutes: convert it to wav or flac, which may last hours.`,
    );
  }
  return {
    rate,
    channels: planes.length,
    frames,
    bits: 16,
    float: false,
    async *blocks() {
      for (let start = 0; start < frames; start += rate) {
        yield planes.map((plane) => plane.slice(start, start + rate));
      }
    },
  };
}
