/** Questions as readers ask them find what answers them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadUniversalSentenceEncoder, type UniversalSentenceEncoder } from '../../src/models';
import { createRuntime } from '../../src/ops/create-runtime';
import { papers } from '../../src/papers';
import { LEAST, mixed, Words } from '../site/ranking';
import { type Meaning, rank, unpacked } from '../site/tasks/meaning';
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
const byMeaning = async (question: string) => {
  using embedded = await encoder.embed([question]);
  return rank(await embedded.read(), known);
};
const ask = async (question: string) => mixed(words.rank(question), await byMeaning(question));

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
  const ranks = await Promise.all(
    Object.entries(QUESTIONS).map(async ([question, wanted]) => {
      const found = await ask(question);
      expect(found[0].score, question).toBeGreaterThan(LEAST);
      return 1 + found.findIndex(({ id }) => wanted.includes(id));
    }),
  );
  const mean = ranks.reduce((sum, rank) => sum + 1 / rank, 0) / ranks.length;
  expect(mean, ranks.join(', ')).toBeGreaterThanOrEqual(0.85);
});

test.each(['cheese fondue', 'football results', 'how do i cook rice', 'tax return 2024', 'asdf qwer'])(
  'nothing answers "%s"',
  async (question) => {
    expect((await ask(question))[0].score).toBeLessThan(LEAST);
    expect(words.rank(question)[0].score).toBe(0);
  },
);

test('all papers are ranked, each by its nearest sentence', async () => {
  const [{ text, id }] = known.filter(({ id }) => id === 'snnk');
  const ranked = await byMeaning(text);
  expect(ranked.map((each) => each.id).toSorted()).toEqual(papers.map((paper) => paper.id).toSorted());
  expect(ranked[0]).toMatchObject({ id, text });
  expect(ranked[0].cosine).toBeCloseTo(1, 3);
  const cosines = ranked.map(({ cosine }) => cosine);
  expect(cosines).toEqual(cosines.toSorted((a, b) => b - a));
});
