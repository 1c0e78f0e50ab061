// Draws a waveform and a spectrogram, as `picture.js` collects them.

import { COLUMNS, ROWS } from "./picture.js";

export const RANGE_DB = 80; // from dark to bright
// From black over violet and orange to light yellow, so that brighter is louder for every eye.
const COLOURS = [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];

/** What the pictures of several signals share: the highest sample, and the highest level in dB. */
export function commonScale(pictures) {
  const all = Object.values(pictures);
  const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
  return {
    peak: Math.max(1e-4, ...all.map(({ low, high }) => Math.max(most(high), -Math.min(...low)))),
    loudest: Math.max(-100, ...all.map(({ decibels }) => most(decibels))),
  };
}

export function drawWaveform(canvas, { low, high }, { peak }) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  context.fillStyle = getComputedStyle(canvas).color;
  const y = (value) => (height / 2) * (1 - value / (1.05 * peak));
  for (let column = 0; column < COLUMNS; column++) {
    const top = y(high[column]);
    context.fillRect((column * width) / COLUMNS, top, width / COLUMNS, Math.max(1, y(low[column]) - top));
  }
}

export function drawSpectrogram(canvas, { decibels }, { loudest }) {
  canvas.width = COLUMNS;
  canvas.height = ROWS;
  const context = canvas.getContext("2d");
  const image = context.createImageData(COLUMNS, ROWS);
  for (let column = 0; column < COLUMNS; column++) {
    for (let row = 0; row < ROWS; row++) {
      const share = 1 + (decibels[column * ROWS + row] - loudest) / RANGE_DB;
      image.data.set([...colour(share), 255], 4 * ((ROWS - 1 - row) * COLUMNS + column));
    }
  }
  context.putImageData(image, 0, 0);
}

function colour(share) {
  const place = Math.min(1, Math.max(0, share)) * (COLOURS.length - 1);
  const below = Math.min(COLOURS.length - 2, Math.floor(place));
  return COLOURS[below].map((value, i) => value + (place - below) * (COLOURS[below + 1][i] - value));
}
