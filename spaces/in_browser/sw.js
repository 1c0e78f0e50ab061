// The service worker: serves the page from the browser's cache, so that it needs no network after the first start.

const SHELL = "dse-hf-page-VERSION"; // build.py writes the version, and the lists
const LARGE = "dse-hf-in-browser"; // filled by js/downloads.js
const SMALL_FILES = [];
const LARGE_FILES = []; // with the hashes of their content

// For threads, and so that neither the page nor its workers can send anything away.
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; " +
    "style-src 'self'; img-src 'self'; media-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'",
};

self.addEventListener("install", (event) => {
  const fill = async () => {
    const cache = await caches.open(SHELL);
    await cache.addAll(SMALL_FILES.map((path) => new Request(path, { cache: "reload" })));
    await self.skipWaiting();
  };
  event.waitUntil(fill());
});

self.addEventListener("activate", (event) => {
  const clean = async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith("dse-hf-page-") && name !== SHELL) await caches.delete(name);
    }
    const large = await caches.open(LARGE);
    const wanted = new Set(LARGE_FILES.map((path) => new URL(path, self.location).href));
    for (const request of await large.keys()) if (!wanted.has(request.url)) await large.delete(request);
    await self.clients.claim();
  };
  event.waitUntil(clean());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const ours = request.method === "GET" && request.url.startsWith(self.registration.scope);
  if (ours) event.respondWith(answer(request));
});

async function answer(request) {
  const kept = await (await caches.open(SHELL)).match(request, { ignoreSearch: request.mode === "navigate" });
  const response = kept ?? (await fetch(request));
  if (response.status === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
