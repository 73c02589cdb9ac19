import * as valibot from 'valibot';
import { expect, test } from 'vitest';
import { checkedPage } from './check-page';
import { defineMethod } from './define';
import type { Page } from './page';
import { lettersOf, shapeOfSpec } from './page';
import { methods } from './registry';

const names = methods.map(({ name }) => name);

test.each(methods)('$name has a page that fits it', async (method) => {
  const { presets } = await checkedPage(method, names);
  expect(presets.some(({ note }) => /fails/.test(note))).toBe(true);
});

test('what a page lacks is refused, with the name of its method', async () => {
  const page: Page = {
    question: 'What is twice x?',
    sample: { extents: { s: 3 }, params: {} },
    presets: [{ name: 'as it is', params: {}, note: 'Twice.' }],
    rivals: ['attention'],
    view: 'outputs',
  };
  const twice = (own: object | undefined) =>
    defineMethod({
      name: 'twice',
      family: 'dense',
      summary: 'twice its input',
      inputs: { x: 'b s' },
      outputs: { out: 'b s' },
      params: valibot.strictObject({}),
      reference: ({ x }) => ({ out: x as never }),
      forward: ({ x }) => ({ out: x }),
      cost: ({ b, s }) => ({ flops: b * s, bytes: 8 * b * s, state: 0 }),
      variants: () => [],
      ...(own && { page: async () => ({ page: own as Page }) }),
    });
  expect(await checkedPage(twice(page), names)).toBe(page);
  for (const [own, message] of [
    [undefined, 'twice has no page'],
    [{ ...page, sample: undefined }, 'the page of twice has no sample'],
    [{ ...page, question: 'Twice x.' }, "the page of twice must ask a question, got 'Twice x.'"],
    [{ ...page, view: 'mask' }, 'the page of twice has the view mask, but the method has none'],
    [{ ...page, view: 'films' }, "the page of twice must have a view of mask, weights, outputs, got 'films'"],
    [{ ...page, rivals: ['thrice'] }, 'the page of twice has the rival thrice, which is no method'],
    [{ ...page, sample: { extents: { t: 3 }, params: {} } }, 'the page of twice has no extents for its input x [b s]'],
    [{ ...page, presets: [{ name: 'no', params: { by: 3 }, note: '' }] }, "twice has no param 'by'"],
  ] as const)
    await expect(checkedPage(twice(own), names)).rejects.toThrow(message);
});

test('extents that follow from others are those of an attention or a grid', () => {
  expect(lettersOf({ n: 5, h: 2, d: 3 })).toMatchObject({ b: 1, n: 5, m: 5, h: 2, g: 2, d: 3, e: 3 });
  expect(shapeOfSpec('b ...space h d', { rows: 4, columns: 6, h: 2, d: 3 })).toEqual([1, 4, 6, 2, 3]);
  expect(shapeOfSpec('s c', { s: 4 })).toEqual([4, undefined]);
});
