/**
 * Keeps the whole site, so that it works offline from the first visit on, and adds the headers that isolate a page, so that
 * WebAssembly has threads on hosts that cannot set them. The build puts in the list of files and its hash; a new version
 * is taken once no page of the old one is open.
 */
declare const FILES: string[];
declare const VERSION: string;

/** The API of service workers, which pages do not have. */
interface LifeEvent extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface FetchEvent extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
const { registration } = self as unknown as { registration: ServiceWorkerRegistration };

const KIND = `saccade atlas at ${registration.scope} `;
const NAME = KIND + VERSION;
const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

addEventListener('install', (event) => {
  const keep = async () => (await caches.open(NAME)).addAll(FILES);
  // Full or forbidden storage: the site comes from the network then, and is isolated all the same.
  (event as LifeEvent).waitUntil(keep().catch(() => caches.delete(NAME).catch(() => false)));
});

addEventListener('activate', (event) => {
  const forget = async () => {
    const names = await caches.keys();
    const old = names.filter((name) => name.startsWith(KIND) && name !== NAME);
    await Promise.all(old.map((name) => caches.delete(name)));
  };
  (event as LifeEvent).waitUntil(forget().catch(() => undefined));
});

addEventListener('fetch', (event) => {
  const { request } = event as FetchEvent;
  const isOurs = new URL(request.url).href.startsWith(registration.scope);
  if (request.method === 'GET' && isOurs) (event as FetchEvent).respondWith(answer(request));
});

async function answer(request: Request): Promise<Response> {
  const address = new URL(request.url);
  if (address.pathname.endsWith('/')) address.pathname += 'index.html';
  const kept = await caches.match(address, { ignoreSearch: true, cacheName: NAME }).catch(() => undefined);
  const response = kept ?? (await fetched(request));
  if (response.status === 404 && request.mode === 'navigate')
    return Response.redirect(new URL('404.html', registration.scope).href);
  // An opaque redirect is the browser's to follow.
  if (response.status === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

async function fetched(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    if (request.mode !== 'navigate') throw error;
    return new Response('This page is not kept on this device, and the network does not answer.', { status: 504 });
  }
}
