/** Questions as readers ask them find what answers them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadUniversalSentenceEncoder, type UniversalSentenceEncoder } from '../../src/models';
import { createRuntime } from '../../src/ops/create-runtime';
import { papers } from '../../src/papers';
import { type Meaning, rank, unpacked } from '../site/tasks/meaning';
import { meanings } from './meanings';

let encoder: UniversalSentenceEncoder;
let known: ReturnType<typeof unpacked>[];
beforeAll(async () => {
  known = (JSON.parse(await meanings()) as Meaning[]).map(unpacked);
  encoder = await loadUniversalSentenceEncoder(await createRuntime({ backend: 'wasm' }));
});
afterAll(() => encoder.runtime.dispose());

const ask = async (question: string) => {
  using embedded = await encoder.embed([question]);
  return rank(await embedded.read(), known);
};

test.each([
  ['my model forgets early tokens at 100k context', 5, ['landmark-attention', 'power-attention']],
  ['linear attention with constant memory', 3, ['lightning-attention']],
  ['image segmentation with windows', 5, ['biformer', 'l2vit']],
  ['pruning tokens of a vision transformer', 3, ['as-vit']],
  ['which keys can be skipped at inference without training', 5, ['sale', 'deltallm', 'retrieval-attention']],
  ['subject-driven image generation attention maps', 3, ['optiprune']],
  ['self-driving car camera segmentation', 1, ['bevanet']],
  ['a prompt of 200 pages takes minutes before the first token', 3, ['sale']],
  ['defects on metal parts from a 3D scanner', 1, ['c3d-ad']],
  ['recurrent model with delta rule', 1, ['nats-linear']],
  ['vision model reads tiny text in screenshots', 3, ['sd-rpn']],
  ['catastrophic forgetting', 3, ['generative-kernel-continual-learning']],
])('%s', async (question, most, wanted) => {
  const first = (await ask(question)).slice(0, most).map(({ id }) => id);
  expect(first).toEqual(expect.arrayContaining(wanted));
});

test('all papers are ranked, each by its nearest sentence', async () => {
  const [{ text, id }] = known.filter(({ id }) => id === 'snnk');
  const ranked = await ask(text);
  expect(ranked.map((each) => each.id).toSorted()).toEqual(papers.map((paper) => paper.id).toSorted());
  expect(ranked[0]).toMatchObject({ id, text });
  expect(ranked[0].cosine).toBeCloseTo(1, 3);
  const cosines = ranked.map(({ cosine }) => cosine);
  expect(cosines).toEqual(cosines.toSorted((a, b) => b - a));
});
