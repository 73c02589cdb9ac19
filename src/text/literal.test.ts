import fc from 'fast-check';
import { expect, test } from 'vitest';
import { literal } from './literal';

test('a literal is written as one would', () => {
  expect(literal({})).toBe('{}');
  expect(literal({ window: [4, null], kind: 'a', deep: { on: true } })).toBe(
    '{ window: [4, null], kind: "a", deep: { on: true } }',
  );
});

test('a program reads back whatever JSON holds', () => {
  const evaluated = (value: unknown) => new Function(`return ${literal(value)};`)();
  for (const text of [
    '"],"x":"',
    "'); alert(1); ('",
    '$(alert(1))`',
    '</script>',
    '\\',
    '\u2028\u202e\u0000',
    '__proto__',
  ])
    expect(evaluated({ [text]: [text] })).toEqual(JSON.parse(JSON.stringify({ [text]: [text] })));
  const property = fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
    expect(evaluated(value)).toEqual(value);
  });
  fc.assert(property);
});
