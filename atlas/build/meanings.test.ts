/** Questions as readers ask them find what answers them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { papers } from '../../src/methods/papers';
import { loadUniversalSentenceEncoder, type UniversalSentenceEncoder } from '../../src/models';
import { createRuntime } from '../../src/runtime/runtime';
import { type Meaning, rank } from '../site/tasks/meaning';
import { meanings } from './meanings';

let encoder: UniversalSentenceEncoder;
let known: Meaning[];
beforeAll(async () => {
  known = JSON.parse(await meanings());
  encoder = await loadUniversalSentenceEncoder(await createRuntime({ backend: 'wasm' }));
});
afterAll(() => encoder.runtime.dispose());

const ask = async (question: string) => {
  using embedded = await encoder.embed([question]);
  return rank(await embedded.read(), known);
};

test.each([['my model forgets early tokens at 100k context', 5, ['landmark-attention', 'power-attention']]])(
  '%s',
  async (question, most, wanted) => {
    const first = (await ask(question)).slice(0, most).map(({ id }) => id);
    expect(first).toEqual(expect.arrayContaining(wanted));
  },
);

test('all papers are ranked, each by its nearest sentence', async () => {
  const [{ text, id }] = known.filter(({ id }) => id === 'snnk');
  const ranked = await ask(text);
  expect(ranked.map((each) => each.id).toSorted()).toEqual(papers.map((paper) => paper.id).toSorted());
  expect(ranked[0]).toMatchObject({ id, text });
  expect(ranked[0].cosine).toBeCloseTo(1, 3);
  const cosines = ranked.map(({ cosine }) => cosine);
  expect(cosines).toEqual(cosines.toSorted((a, b) => b - a));
});
