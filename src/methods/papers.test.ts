import { describe, expect, test } from 'vitest';
import { models } from '../models/registry';
import { FAMILIES, papers } from './papers';
import { methods } from './registry';

test('there are thirty-one, each once, in the order of their families', () => {
  expect(papers).toHaveLength(31);
  for (const key of ['id', 'arxiv', 'title'] as const) expect(new Set(papers.map((paper) => paper[key])).size).toBe(31);
  expect([...new Set(papers.map(({ family }) => family))]).toEqual(Object.keys(FAMILIES));
});

describe.each(papers.map((paper) => [paper.id, paper] as const))('%s', (_, paper) => {
  test('has what the list shows of it', () => {
    expect(paper.arxiv).toMatch(/^\d{4}\.\d{5}$/);
    expect(paper.summary).toMatch(/^[A-Z].{60,}\.$/);
    expect(paper.authors).toMatch(/^\S/);
    expect(paper.problems.length).toBeGreaterThan(2);
    expect(paper.methods.length).toBeGreaterThan(0);
  });
});

test('every method and every model that is a paper has one that names it', () => {
  const of = (name: string) => papers.filter((paper) => paper.methods.includes(name));
  for (const { name, paper } of methods) {
    expect(of(name), name).toHaveLength(1);
    const own = papers.find(({ arxiv }) => arxiv === paper?.arxiv);
    if (own) expect(own.methods, name).toContain(name);
  }
  const named = papers.flatMap((paper) => paper.models ?? []);
  for (const { name } of models) expect([...named, 'decoder'], name).toContain(name);
});
