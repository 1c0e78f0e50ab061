// Wav files: written block by block to the browser's private disk, or to memory, and read back for the player.

const LONGEST_IN_MEMORY = 1 << 30; // bytes of both results together

/** A file that grows. `folder` is a folder of the browser's private file system, or null for memory. */
async function openFile(folder, name) {
  if (folder) {
    const file = await folder.getFileHandle(name, { create: true });
    const handle = await file.createSyncAccessHandle();
    handle.truncate(0);
    return {
      write: (bytes, at) => handle.write(bytes, { at }),
      finish: async () => {
        handle.flush();
        handle.close();
        return file.getFile();
      },
    };
  }
  const parts = [];
  return {
    write: (bytes, at) => (at === 0 && parts.length ? (parts[0] = bytes) : parts.push(bytes.slice())),
    finish: async () => new Blob(parts, { type: "audio/wav" }),
  };
}

/** A folder on the browser's private disk for this result, or null. The folders of closed pages are deleted. */
export async function openFolder() {
  const day = 24 * 3600 * 1000;
  try {
    const root = await navigator.storage.getDirectory();
    for await (const name of root.keys()) {
      if (name.startsWith("result-") && Date.now() - Number(name.split("-")[1]) > day) {
        await root.removeEntry(name, { recursive: true });
      }
    }
    const folder = await root.getDirectoryHandle(`result-${Date.now()}-${Math.random().toString(36).slice(2)}`, {
      create: true,
    });
    const probe = await (await folder.getFileHandle("probe", { create: true })).createSyncAccessHandle();
    probe.close();
    await folder.removeEntry("probe");
    return folder;
  } catch {
    return null; // a private window, or an older browser
  }
}

/** Bytes that results may take, here and now. */
export async function freeBytes(folder) {
  if (!folder) return LONGEST_IN_MEMORY;
  const { quota, usage } = await navigator.storage.estimate();
  return quota - usage;
}

/** Writes samples as wav, in the format `{rate, channels, bits, float}`: 16 or 24 bits, or floats of 32. Above 4 GB, the file is an RF64. */
export class WavWriter {
  static async create(folder, name, format) {
    const writer = new WavWriter();
    writer.file = await openFile(folder, name);
    writer.format = format;
    writer.bytes = 0;
    writer.file.write(wavHeader(format, 0), 0);
    return writer;
  }

  /** Adds planes (C arrays of n samples), full scale ±1, which are on the grid of the format's integers. */
  write(planes) {
    const bytes = encode(planes, this.format);
    const at = HEADER + this.bytes;
    this.file.write(bytes, at);
    this.bytes += bytes.length;
  }

  async finish() {
    this.file.write(wavHeader(this.format, this.bytes), 0);
    return this.file.finish();
  }
}

/** Rounds samples to the integers of a format, and clips them to full scale, in place. Halves go to even. */
export function quantize(samples, { bits, float }) {
  if (float) return samples;
  const scale = 2 ** (bits - 1);
  for (let i = 0; i < samples.length; i++) {
    const value = samples[i] * scale;
    let rounded = Math.round(value);
    if (rounded - value === 0.5 && rounded % 2) rounded -= 1;
    samples[i] = Math.max(-scale, Math.min(scale - 1, rounded)) / scale;
  }
  return samples;
}

const HEADER = 80; // RIFF, 28 bytes of ds64 or of nothing in its place, fmt, data

export function wavHeader({ rate, channels, bits, float }, dataBytes) {
  const view = new DataView(new ArrayBuffer(HEADER));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  const long = HEADER + dataBytes > 0xffffffff;
  const frame = (channels * bits) / 8;
  text(0, long ? "RF64" : "RIFF");
  view.setUint32(4, long ? 0xffffffff : HEADER - 8 + dataBytes, true);
  text(8, "WAVE");
  text(12, long ? "ds64" : "JUNK");
  view.setUint32(16, 28, true);
  if (long) {
    view.setBigUint64(20, BigInt(HEADER - 8 + dataBytes), true);
    view.setBigUint64(28, BigInt(dataBytes), true);
    view.setBigUint64(36, BigInt(dataBytes / frame), true);
  }
  text(48, "fmt ");
  view.setUint32(52, 16, true);
  view.setUint16(56, float ? 3 : 1, true);
  view.setUint16(58, channels, true);
  view.setUint32(60, rate, true);
  view.setUint32(64, rate * frame, true);
  view.setUint16(68, frame, true);
  view.setUint16(70, bits, true);
  text(72, "data");
  view.setUint32(76, long ? 0xffffffff : dataBytes, true);
  return new Uint8Array(view.buffer);
}

function encode(planes, { channels, bits, float }) {
  const frames = planes[0].length;
  const view = new DataView(new ArrayBuffer((frames * channels * bits) / 8));
  const scale = 2 ** (bits - 1);
  let at = 0;
  for (let i = 0; i < frames; i++) {
    for (let c = 0; c < channels; c++, at += bits / 8) {
      const value = planes[c][i];
      if (float) view.setFloat32(at, value, true);
      else if (bits === 16) view.setInt16(at, value * scale, true);
      else {
        const integer = value * scale;
        view.setInt16(at, integer & 0xffff, true);
        view.setInt8(at + 2, integer >> 16);
      }
    }
  }
  return new Uint8Array(view.buffer);
}

/** Reads frames `start` to `end` of a file that `WavWriter` made, as planes. */
export async function readFrames(blob, { channels, bits, float }, start, end) {
  const frame = (channels * bits) / 8;
  const bytes = await blob.slice(HEADER + start * frame, HEADER + end * frame).arrayBuffer();
  const view = new DataView(bytes);
  const frames = Math.floor(bytes.byteLength / frame);
  const planes = Array.from({ length: channels }, () => new Float32Array(frames));
  const scale = 2 ** (bits - 1);
  let at = 0;
  for (let i = 0; i < frames; i++) {
    for (let c = 0; c < channels; c++, at += bits / 8) {
      if (float) planes[c][i] = view.getFloat32(at, true);
      else if (bits === 16) planes[c][i] = view.getInt16(at, true) / scale;
      else planes[c][i] = (view.getUint16(at, true) + (view.getInt8(at + 2) << 16)) / scale;
    }
  }
  return planes;
}
