import type { TaskControl } from '../answer';
import { loadEncoder } from './encoder';

/** A sentence about a paper of the list. */
export interface Meaning {
  readonly id: string;
  readonly text: string;
  /** The direction of its embedding: 512 signed bytes in base64. */
  readonly vector: string;
}

/** How near a paper is to a question. */
export interface Likeness {
  readonly id: string;
  /** The cosine between the question and the sentence that is nearest to it. */
  readonly cosine: number;
  readonly text: string;
}

/** All papers, the nearest first; none for an empty question, which only loads what is needed. Progress is that of loading. */
export async function rankByMeaning(
  { question }: { readonly question: string },
  { signal, report }: TaskControl,
): Promise<Likeness[]> {
  const [encoder, known] = await Promise.all([loadEncoder({ signal, onProgress: report }), loadMeanings()]);
  // With no question a word is embedded, so that the first question finds kernels that have run before.
  using embedded = await encoder.embed([question || 'attention'], { signal });
  return question === '' ? [] : rank(await embedded.read(), known);
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

/** Each paper by the sentence that is most like the question, a vector of length 1. */
export function rank(question: Float32Array, known: readonly Known[]): Likeness[] {
  const best = new Map<string, Likeness>();
  for (const { id, text, vector } of known) {
    const cosine = vector.reduce((sum, value, at) => sum + value * question[at], 0);
    if (cosine > (best.get(id)?.cosine ?? -1)) best.set(id, { id, cosine, text });
  }
  return [...best.values()].sort((a, b) => b.cosine - a.cosine);
}
