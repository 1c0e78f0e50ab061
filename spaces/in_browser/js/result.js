// The result: player, pictures, levels and downloads.

import { RANGE_DB, commonScale, drawSpectrogram, drawWaveform } from "./draw.js";
import { BACKENDS } from "./network.js";
import { Player } from "./player.js";

const element = (id) => document.getElementById(id);
const NAMES = ["input", "foreground", "background"];

export class ResultView {
  #player = null;
  #result = null;
  #urls = [];

  listen() {
    element("play").addEventListener("click", () => (this.#player.playing ? this.#player.pause() : this.#player.play()));
    element("seek").addEventListener("input", ({ target }) => this.#seek(Number(target.value)));
    element("what").addEventListener("change", () => this.#balance());
    element("mix").addEventListener("input", () => {
      document.querySelector("#what [value=foreground]").checked = true;
      this.#balance();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(element("pictures"));
  }

  hide() {
    element("result").hidden = true;
    this.#player?.close();
    this.#player = this.#result = null;
    for (const url of this.#urls) URL.revokeObjectURL(url);
    this.#urls = [];
  }

  show(result, name) {
    this.hide();
    this.#result = result;
    this.#player = new Player(result, () => this.#tick());
    element("result").hidden = false;
    element("seek").max = this.#player.seconds;
    this.#balance();
    this.#showPictures(result);
    this.#showDownloads(result, name.replace(/\.[^.]*$/, "") || "sound");
    const { format, frames, elapsed, backend } = result;
    const seconds = frames / format.rate;
    const channels = format.channels === 1 ? "1 channel" : `${format.channels} channels`;
    const silent = result.pictures.input.level === -Infinity ? " The recording is silent, and so are its results." : "";
    element("facts").textContent =
      `${duration(seconds)} of ${channels} at ${format.rate} Hz in ${duration(elapsed)}: ` +
      `${(seconds / elapsed).toFixed(1)} times real time, by the ${BACKENDS[backend].title}.${silent}`;
    this.#tick();
    element("result-heading").focus();
  }

  #showPictures({ pictures, frames, format }) {
    const kilohertz = `${format.rate / 2000} kHz`;
    const figures = NAMES.map((name) => {
      const figure = document.createElement("figure");
      const level = decibels(pictures[name].level);
      const change = name === "input" ? "" : ` (${decibels(pictures[name].level - pictures.input.level, "+")})`;
      figure.innerHTML =
        `<figcaption>${name} <span>${level}FS${change}</span></figcaption><div class="picture">` +
        `<canvas class="wave" role="img"></canvas><canvas class="spectrogram" role="img"></canvas>` +
        `<div class="playhead"></div></div><div class="axis"><span>0 s</span><span></span></div>`;
      figure.querySelector(".wave").ariaLabel = `Waveform of the ${name}`;
      figure.querySelector(".spectrogram").ariaLabel = `Spectrogram of the ${name}, 0 to ${kilohertz}`;
      figure.querySelector(".axis span:last-child").textContent = duration(frames / format.rate);
      figure.querySelector(".picture").addEventListener("click", ({ offsetX, currentTarget }) =>
        this.#seek((offsetX / currentTarget.clientWidth) * this.#player.seconds),
      );
      return figure;
    });
    element("pictures").replaceChildren(...figures);
    element("scale").textContent =
      `One scale for all: ${RANGE_DB} dB from dark to bright, 0 to ${kilohertz} from bottom to top.`;
    this.#draw();
  }

  #draw() {
    if (!this.#result) return;
    const { pictures } = this.#result;
    const scale = commonScale(pictures);
    for (const [i, figure] of [...element("pictures").children].entries()) {
      const wave = figure.querySelector(".wave");
      wave.width = Math.max(1, Math.round(wave.clientWidth * devicePixelRatio));
      wave.height = Math.max(1, Math.round(wave.clientHeight * devicePixelRatio));
      drawWaveform(wave, pictures[NAMES[i]], scale);
      drawSpectrogram(figure.querySelector(".spectrogram"), pictures[NAMES[i]], scale);
    }
  }

  #showDownloads({ files }, stem) {
    const links = Object.entries(files).map(([name, file]) => {
      const link = document.createElement("a");
      link.className = "button";
      link.href = URL.createObjectURL(file);
      link.download = `${stem}.${name}.wav`;
      link.textContent = `Download ${name}`;
      this.#urls.push(link.href);
      return link;
    });
    element("downloads").replaceChildren(...links);
  }

  #balance() {
    const kept = element("mix").value / 100;
    element("kept").textContent = `${element("mix").value} %`;
    const gains = { input: [1, 1], foreground: [1, kept], background: [0, 1] };
    this.#player?.balance(...gains[document.querySelector("#what :checked").value]);
  }

  #seek(seconds) {
    this.#player.seek(seconds);
    this.#tick();
  }

  #tick() {
    const player = this.#player;
    if (!player) return;
    element("play").textContent = player.playing ? "❚❚ Pause" : "▶ Play";
    element("seek").value = player.position;
    element("seek").ariaValueText = `${duration(player.position)} of ${duration(player.seconds)}`;
    element("time").textContent = `${duration(player.position)} / ${duration(player.seconds)}`;
    for (const line of document.querySelectorAll(".playhead")) {
      line.style.left = `${(100 * player.position) / player.seconds}%`;
    }
    if (player.playing) requestAnimationFrame(() => this.#player === player && this.#tick());
  }
}

/** Seconds as a person says them: 5.3 s, 2:05, 1:02:05. */
export function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}

function decibels(value, sign = "") {
  if (!Number.isFinite(value)) return "silent, −∞ dB";
  return `${value > 0 ? sign : ""}${value.toFixed(1)} dB`.replace("-", "−");
}
