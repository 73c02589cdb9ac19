import type { TaskControl } from '../answer';
import type { Near } from '../ranking';
import { loadEncoder } from './encoder';

/** A sentence about a paper of the list. */
export interface Meaning {
  readonly id: string;
  readonly text: string;
  /** The direction of its embedding: 512 signed bytes in base64. */
  readonly vector: string;
}

export interface Likeness extends Near {
  /** The sentence about the paper that is nearest to the question. */
  readonly text: string;
}

/** All papers for each sentence, the nearest first. Without sentences it only loads what is needed. Progress is that of loading. */
export async function rankByMeaning(
  { sentences }: { readonly sentences: readonly string[] },
  { signal, report }: TaskControl,
): Promise<Likeness[][]> {
  const [encoder, known] = await Promise.all([loadEncoder({ signal, onProgress: report }), loadMeanings()]);
  // With no question a word is embedded, so that the first question finds kernels that have run before.
  using embedded = await encoder.embed(sentences.length > 0 ? [...sentences] : ['attention'], { signal });
  return rankEach(await embedded.read(), sentences.length, known);
}

let loading: Promise<readonly Known[]> | undefined;

function loadMeanings(): Promise<readonly Known[]> {
  loading ??= fetchMeanings().catch((error) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function fetchMeanings(): Promise<readonly Known[]> {
  const response = await fetch(new URL('../meanings.generated.json', import.meta.url));
  if (!response.ok) throw new Error(`${response.url} was answered with ${response.status}`);
  return ((await response.json()) as Meaning[]).map(unpacked);
}

interface Known extends Omit<Meaning, 'vector'> {
  /** Its length is 1. */
  readonly vector: Float32Array;
}

export function unpacked({ id, text, vector }: Meaning): Known {
  const bytes = Int8Array.from(atob(vector), (character) => character.charCodeAt(0));
  const length = Math.hypot(...bytes);
  return { id, text, vector: Float32Array.from(bytes, (value) => value / length) };
}

/** The ranking for each of `count` questions, vectors of length 1 one after the other. */
export function rankEach(vectors: Float32Array, count: number, known: readonly Known[]): Likeness[][] {
  const width = known[0].vector.length;
  return Array.from({ length: count }, (_, at) => rank(vectors.subarray(at * width, (at + 1) * width), known));
}

/** Each paper by the sentence that is most like the question, a vector of length 1. */
function rank(question: Float32Array, known: readonly Known[]): Likeness[] {
  const best = new Map<string, Likeness>();
  for (const { id, text, vector } of known) {
    const cosine = vector.reduce((sum, value, at) => sum + value * question[at], 0);
    if (cosine > (best.get(id)?.cosine ?? -1)) best.set(id, { id, cosine, text });
  }
  return [...best.values()].sort((a, b) => b.cosine - a.cosine);
}
