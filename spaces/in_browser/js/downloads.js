// The large files of the page: fetched once, then kept in the browser's cache, so that no network is needed.

const CACHE = "dse-hf-in-browser"; // sw.js uses it too

/** Size and hash of each large file, and the model, as build.py wrote them. */
export async function loadManifest() {
  const answer = await fetch(new URL("../files.json", import.meta.url));
  if (!answer.ok) throw new Error("files.json is missing: the page has to be built, see its README");
  return answer.json();
}

/** Bytes that are still to be downloaded of these files. */
export async function missingBytes(manifest, paths) {
  let bytes = 0;
  for (const path of paths) if (!(await cached(address(manifest, path)))) bytes += manifest.files[path].bytes;
  return bytes;
}

/** The content of a file, which is compressed by gzip. Calls `progress(bytes)` with the bytes that have arrived. */
export async function fetchBytes(manifest, path, progress) {
  const url = address(manifest, path);
  const kept = await cached(url);
  if (kept) return unpacked(kept);
  const answer = await fetch(url);
  if (!answer.ok) throw new TypeError(`${path}: the server answered ${answer.status}`);
  const content = new Uint8Array(manifest.files[path].bytes);
  let filled = 0;
  for (let reader = answer.body.getReader(), part; !(part = await reader.read()).done; ) {
    content.set(part.value, filled);
    filled += part.value.length;
    progress(part.value.length);
  }
  if (filled !== content.length) throw new TypeError(`${path}: ${filled} of ${content.length} bytes arrived`);
  try {
    await (await caches.open(CACHE)).put(url, new Response(content, { headers: answer.headers }));
  } catch {
    // No cache over plain http, or no room: the next visit downloads the file again.
  }
  return unpacked(new Response(content));
}

function unpacked(response) {
  return new Response(response.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** A new content has a new address, so that no old copy of it is used. */
function address(manifest, path) {
  return new URL(`../${path}?${manifest.files[path].hash}`, import.meta.url).href;
}

async function cached(url) {
  try {
    return await (await caches.open(CACHE)).match(url);
  } catch {
    return undefined;
  }
}
