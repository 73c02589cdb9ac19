import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MODEL_FOLDER } from '../../../test/use-lite-oracle';
import { createTokeniser, type Vocabulary } from './tokeniser';

const MARKERS: Vocabulary = Array.from({ length: 6 }, (_, i) => [`<${i}>`, 0]);

describe('with a vocabulary made by hand', () => {
  const vocabulary: Vocabulary = [
    ...MARKERS,
    ['\u2581', -5], // 6
    ['a', -4],
    ['b', -4], // 8
    ['ab', -7],
    ['\u2581a', -6], // 10
    ['\u2581ab', -13],
    ['c\u0327', -1], // 12
    ['\u00e7', -2],
  ];
  const tokenise = createTokeniser(vocabulary);

  test('takes the split with the largest sum of scores', () => {
    expect(tokenise('ab')).toEqual([10, 8]); // -6 - 4 over -5 - 7, -5 - 4 - 4 and -13
    expect(tokenise('bab')).toEqual([6, 8, 9]); // -5 - 4 - 7 over -5 - 4 - 4 - 4
    expect(tokenise('a ab')).toEqual([10, 10, 8]);
  });

  test('puts the text in form NFKC first', () => {
    expect(tokenise('c\u0327')).toEqual([6, 13]);
    expect(tokenise('\uff41')).toEqual(tokenise('a'));
    expect(tokenise('a\u00a0a')).toEqual(tokenise('a a'));
  });

  test('keeps every space, and leads with one', () => {
    expect(tokenise('  ')).toEqual([6, 6, 6]);
    expect(tokenise('')).toEqual([]);
  });

  test('makes one unknown of neighbouring characters that no piece begins with', () => {
    expect(tokenise('\u{1f639}\u{1f639}x\nb\ud800')).toEqual([6, 0, 8, 0]);
    expect(tokenise('<1>')).toEqual([6, 0]);
  });

  test('prefers the shortest last piece among equal sums', () => {
    const equal = createTokeniser([...MARKERS, ['\u2581', -1], ['a', -1], ['b', -2], ['ab', -3]]);
    expect(equal('ab')).toEqual([6, 7, 8]);
  });

  test('reaches the end where pieces leave gaps', () => {
    const gaps = createTokeniser([...MARKERS, ['\u2581ab', -1], ['bc', -1], ['a', -1], ['cd', -9]]);
    expect(gaps('abcd')).toEqual([6, 9]);
    expect(gaps('bcd')).toEqual([0, 7, 0]);
  });

  test('agrees with the best of all splits', () => {
    const piece = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '\u2581'), minLength: 2, maxLength: 4 });
    const score = fc.integer({ min: -1_000_000, max: -1 });
    const pieces = fc.uniqueArray(fc.tuple(piece, score), { maxLength: 12, selector: ([text]) => text });
    const singles = fc.tuple(score, score, score, score);
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', ' '), minLength: 1, maxLength: 9 });
    fc.assert(
      fc.property(pieces, singles, text, (longer, scores, input) => {
        const all: Vocabulary = [
          ...MARKERS,
          ...scores.map((value, i): [string, number] => ['abc\u2581'[i] as string, value]),
          ...longer,
        ];
        const sum = (tokens: readonly number[]) => tokens.reduce((total, token) => total + (all[token]?.[1] ?? 0), 0);
        const tokens = createTokeniser(all)(input);
        const spaced = `\u2581${input.replaceAll(' ', '\u2581')}`;
        expect(tokens.map((token) => all[token]?.[0]).join('')).toBe(spaced);
        expect(sum(tokens)).toBe(Math.max(...splits(spaced, all).map(sum)));
      }),
    );
  });
});

describe('with the published vocabulary', () => {
  const vocabulary = JSON.parse(readFileSync(`${MODEL_FOLDER}/vocab.json`, 'utf8')) as Vocabulary;
  const tokenise = createTokeniser(vocabulary);
  const pieces = (text: string) => tokenise(text).map((token) => vocabulary[token]?.[0]);

  test('splits English as the pieces say', () => {
    expect(pieces('I am here, and you are there.')).toEqual([
      ...['\u2581I', '\u2581am', '\u2581here', ',', '\u2581and', '\u2581you', '\u2581are', '\u2581there', '.'],
    ]);
    expect(pieces('Call me Ishmael.')).toEqual(['\u2581Call', '\u2581me', '\u2581I', 'sh', 'ma', 'el', '.']);
    expect(tokenise('Call me Ishmael.')).toEqual([3650, 84, 16, 552, 252, 283, 6]);
  });

  test('treats lost scores and a sum of zero as the published tokeniser does', () => {
    expect(vocabulary.find(([piece]) => piece === '\u2581:')?.[1]).toBe(null);
    expect(pieces(':')).toEqual(['\u2581', ':']);
    expect(pieces('at 5:30')).toEqual(['\u2581at', '\u25815', ':30']);
    expect(pieces('a :')).toEqual(['\u2581a', '\u2581:']);
  });

  test('takes the last of pieces that occur twice', () => {
    const twice = vocabulary.flatMap(([piece], token) => (piece === '\u201d5' ? [token] : []));
    expect(twice.length).toBeGreaterThan(1);
    expect(tokenise('\u201d5').at(-1)).toBe(twice.at(-1));
  });

  test('holds on long text', () => {
    const length = 300_000;
    expect(new Set(tokenise('\u4e00'.repeat(length)))).toEqual(new Set([30, 0]));
    expect(pieces('e'.repeat(length)).join('')).toBe(`\u2581${'e'.repeat(length)}`);
  });
});

/** Every way to make `text` of the vocabulary's pieces, as tokens. */
function splits(text: string, vocabulary: Vocabulary): number[][] {
  if (text === '') return [[]];
  return vocabulary.flatMap(([piece], token) =>
    text.startsWith(piece) ? splits(text.slice(piece.length), vocabulary).map((rest) => [token, ...rest]) : [],
  );
}
