/** Questions as readers ask them find what answers them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadUniversalSentenceEncoder, type UniversalSentenceEncoder } from '../../src/models';
import { createRuntime } from '../../src/ops/create-runtime';
import { papers } from '../../src/papers';
import abstracts from '../../test/abstracts.json' with { type: 'json' };
import { answers, sentencesOf, Words } from '../site/ranking';
import { type Meaning, rankEach, unpacked } from '../site/tasks/meaning';
import { meanings } from './meanings';

let encoder: UniversalSentenceEncoder;
let known: ReturnType<typeof unpacked>[];
beforeAll(async () => {
  known = (JSON.parse(await meanings()) as Meaning[]).map(unpacked);
  encoder = await loadUniversalSentenceEncoder(await createRuntime({ backend: 'wasm' }));
});
afterAll(() => encoder.runtime.dispose());

const words = new Words(
  papers.map(({ id, name, title, authors, family, summary, problems }) => ({
    id,
    title: `${name} ${title} ${authors}`,
    sentences: [family, summary, ...problems],
  })),
);
const byMeaning = async (sentences: readonly string[]) => {
  using embedded = await encoder.embed([...sentences]);
  return rankEach(await embedded.read(), sentences.length, known);
};
const ask = async (question: string) => {
  const sentences = sentencesOf(question);
  return answers(sentences, words, await byMeaning(sentences));
};
const placeOf = (found: readonly { readonly id: string }[], wanted: readonly string[]) =>
  1 / (1 + found.findIndex(({ id }) => wanted.includes(id))) || 0;

/** Typed as they are, with the papers that answer them. */
const QUESTIONS: Readonly<Record<string, readonly string[]>> = {
  'my model forgets early tokens at 100k context': ['landmark-attention', 'power-attention'],
  'linear attention with constant memory': ['lightning-attention', 'transnormer'],
  'image segmentation with windows': ['biformer', 'l2vit'],
  'pruning tokens of a vision transformer': ['as-vit'],
  'which keys can be skipped at inference without training': ['sale', 'deltallm', 'retrieval-attention'],
  'subject-driven image generation attention maps': ['optiprune'],
  'self-driving car camera segmentation': ['bevanet'],
  'a prompt of 200 pages takes minutes before the first token': ['sale'],
  'defects on metal parts from a 3D scanner': ['c3d-ad'],
  'recurrent model with delta rule': ['nats-linear', 'gated-delta-networks'],
  'vision model reads tiny text in screenshots': ['sd-rpn'],
  'catastrophic forgetting': ['generative-kernel-continual-learning'],
  'labels every pixel of a street scene': ['bevanet'],
  'approximate softmax with random features': ['performer'],
  'kv cache does not fit in gpu memory': ['retrieval-attention', 's2-attention'],
  'how many samples and features does ridge regression need': ['more-is-better'],
  'a convnet with very large kernels instead of attention': ['unireplknet', 'scaling-up-your-kernels', 'van'],
  'attention only to neighbouring pixels, with a stride that suits the gpu': ['generalized-neighborhood-attention'],
  'replace a dense layer by fewer parameters with kernel features': ['snnk'],
  'fit a line around each query in place of a mean': ['local-linear-attention'],
};

test('twenty questions have their answers near the top: the mean reciprocal rank is 0.85 and more', async () => {
  const places: number[] = [];
  for (const [question, wanted] of Object.entries(QUESTIONS)) places.push(placeOf(await ask(question), wanted));
  expect(Math.min(...places), places.join(', ')).toBeGreaterThan(0);
  expect(places.reduce((sum, place) => sum + place, 0) / places.length).toBeGreaterThanOrEqual(0.85);
});

/**
 * Abstracts as the words of each sentence in alphabetical order, since the sentences are their authors'; those of the papers
 * that began the list. None is in what is searched.
 */
test.each(Object.entries(abstracts))('the abstract of %s finds its paper first', (id, text) => {
  expect(answers(sentencesOf(text), words)[0].id).toBe(id);
});

const RECIPE =
  'Cut the garlic in half and rub the pot with it. Grate the cheese and mix it with starch. Heat the wine until it steams. ' +
  'Add the cheese by the handful and stir until it is smooth. Serve with cubes of bread; children like apple juice with it.';

test.each(['cheese fondue', 'football results', 'how do i cook rice', 'tax return 2024', 'asdf qwer', RECIPE])(
  'nothing answers "%s"',
  async (question) => {
    expect(await ask(question)).toEqual([]);
    if (question !== RECIPE) expect(answers(sentencesOf(question), words)).toEqual([]);
  },
);

test('all papers are ranked, each by its nearest sentence', async () => {
  const [{ text, id }] = known.filter(({ id }) => id === 'snnk');
  const [ranked] = await byMeaning([text]);
  expect(ranked.map((each) => each.id).toSorted()).toEqual(papers.map((paper) => paper.id).toSorted());
  expect(ranked[0]).toMatchObject({ id, text });
  expect(ranked[0].cosine).toBeCloseTo(1, 3);
  const cosines = ranked.map(({ cosine }) => cosine);
  expect(cosines).toEqual(cosines.toSorted((a, b) => b - a));
});
