import { expect, test } from 'vitest';
import { experiments } from '../experiments/experiments.generated';
import { methods } from '../methods/registry';
import { models } from '../models/registry';
import { FAMILIES, type ListedPaper, papers } from '.';
import { checkPapers } from './check';

const known = { methods, models, measured: Object.keys(experiments) };

test('papers agree with the methods, models and experiments that there are, in the order of their families', () => {
  checkPapers(papers, known);
  expect([...new Set(papers.map(({ family }) => family))]).toEqual(Object.keys(FAMILIES));
});

const paper = papers.find(({ id }) => id === 'power-attention')!;
const another: ListedPaper = {
  ...paper,
  ...{ id: 'another', name: 'Another', title: 'Another Attention', arxiv: '2701.00001', methods: ['another'] },
  claims: [{ claim: 'It attends.', source: 'abstract', mark: 'from the paper' }],
};

test('one more is welcome, with a method to come, or with one that names it', () => {
  checkPapers([...papers, another], known);
  const method = { name: 'another', paper: '2701.00001' };
  checkPapers([...papers, another], { methods: [...methods, method], models });
});

test.each<[Partial<ListedPaper>, string]>([
  [{ name: paper.name }, "there are two papers of name 'PowerAttention'"],
  [{ title: paper.title }, `there are two papers of title '${paper.title}'`],
  [{ arxiv: paper.arxiv }, "there are two papers of arxiv '2503.03588'"],
  [{ arxiv: '2503' }, "src/papers/another.ts must have an arXiv number such as 2503.03588, got '2503'"],
  [{ authors: ' ' }, 'src/papers/another.ts must name authors'],
  [{ summary: 'Short.' }, "src/papers/another.ts must tell its idea in a sentence, got 'Short.'"],
  [{ problems: ['one'] }, 'src/papers/another.ts must have at least 3 problems, got 1'],
  [{ claims: [] }, 'src/papers/another.ts must have claims to test, since nothing of it runs yet'],
  [{ methods: [] }, 'src/papers/another.ts must name a method, a model or a pipeline, present or to come'],
])('%j is refused by name', (more, message) => {
  expect(() => checkPapers([...papers, { ...another, ...more }], known)).toThrow(message);
});

test('operations are those of a method, or of a formula that grows with the length', () => {
  const performer = papers.find(({ id }) => id === 'performer')!;
  const operations = { setting: 'all pairs', count: (n: number) => n * n };
  const others = papers.filter(({ id }) => id !== 'performer');
  expect(() => checkPapers([...others, { ...performer, operations }], known)).toThrow(
    'src/papers/performer.ts must have no operations, since performer counts them',
  );
  for (const { id, operations } of papers)
    if (operations) expect(operations.count(8192, 64), id).toBeGreaterThan(1.9 * operations.count(4096, 64));
});

test.each([
  [{ name: 'performer' }, "there are two methods 'performer'"],
  [{ name: 'new', paper: '2701.00001' }, 'new is from arXiv 2701.00001, but no file in src/papers has that number'],
  [
    { name: 'new', paper: paper.arxiv },
    'new is from arXiv 2503.03588, but src/papers/power-attention.ts has no new in',
  ],
])('the method %j is refused by name', (method, message) => {
  expect(() => checkPapers(papers, { methods: [...methods, method], models })).toThrow(message);
});
