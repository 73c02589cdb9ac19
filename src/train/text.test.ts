import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chapter } from '../../test/moby-dick';
import { bytePairTokenizer, characterTokenizer, tokenizerOf, windows } from './index';

test('byte-pair merges: a hand example', () => {
  // a b occurs three times, and then so does ab c; what occurs once is not merged.
  const { file, size, encode, decode } = bytePairTokenizer('abcabc abc', 300);
  const merges = [
    ['a', 'b'],
    ['ab', 'c'],
  ];
  expect([size, file.model]).toEqual([258, expect.objectContaining({ merges })]);
  const [a, b, c] = [...'abc'].map((character) => character.charCodeAt(0));
  expect([...encode('abc')]).toEqual([257]);
  expect([...encode('acb')]).toEqual([a, c, b]);
  expect(decode([a!, b!, c!, 256, 257])).toBe('abcababc');
});

test('merges are those of counting all pairs anew each time', () => {
  const text = chapter(1).slice(0, 3000);
  const { file, size } = bytePairTokenizer(text, 300);
  const { vocab, merges } = file.model as { vocab: Record<string, number>; merges: [string, string][] };
  expect(size).toBe(300);
  const names = Object.entries(vocab)
    .sort(([, a], [, b]) => a - b)
    .map(([name]) => name);
  let words = (text.match(/'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu) ?? []).map(
    (word) => [...new TextEncoder().encode(word)].map((byte) => names[byte]!),
  );
  for (const [first, second] of merges) {
    const counts = new Map<string, number>();
    for (const word of words)
      for (let at = 1; at < word.length; at++) {
        const pair = `${word[at - 1]}\n${word[at]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    expect(counts.get(`${first}\n${second}`)).toBe(Math.max(...counts.values()));
    words = words.map((word) => {
      const next: string[] = [];
      for (const each of word)
        if (each === second && next.at(-1) === first) next[next.length - 1] = first + second;
        else next.push(each);
      return next;
    });
  }
});

test('what was encoded comes back, whatever the text', () => {
  const { encode, decode, file } = bytePairTokenizer(chapter(2).slice(0, 2000), 280);
  const again = tokenizerOf(JSON.parse(JSON.stringify(file)));
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), (text) => {
      expect(decode(encode(text))).toBe(text);
      expect(again.encode(text)).toEqual(encode(text));
    }),
  );
  const text = 'Größe\n\n  \t naïve 🐳🐳\r\n';
  const characters = characterTokenizer(text);
  expect(characters.size).toBe(new Set(text).size);
  expect([...characters.encode('\t\n')]).toEqual([0, 1]);
  expect(characters.decode(characters.encode(text))).toBe(text);
  expect(() => characters.encode('Größte')).toThrow("text must be of the 14 characters that are known, got 't'");
  expect(() => characterTokenizer('')).toThrow("text must be a string that is not empty, got ''");
  expect(() => bytePairTokenizer('a', 255)).toThrow('size must be an integer from 256');
  expect(() => tokenizerOf({})).toThrow("the tokenizer's file cannot be used");
});

test('windows: each pass takes every one once, and what is kept for validation in none', () => {
  const tokens = Int32Array.from({ length: 100 }, (_, at) => at);
  const data = windows(tokens, { length: 4, batch: 3, seed: 5, validation: 0.2 });
  const rows = (host: { data: Int32Array }) =>
    Array.from({ length: host.data.length / 5 }, (_, at) => [...host.data.slice(5 * at, 5 * at + 5)]);
  const seen = Array.from({ length: 38 }, (_, at) => rows(data.batches(at))).flat();
  for (const row of seen) expect(row).toEqual(row.map((_, at) => row[0]! + at));
  // 19 windows a pass, so that 6 passes are 38 batches.
  const passes = Array.from({ length: 6 }, (_, at) => seen.slice(19 * at, 19 * at + 19).map(([first]) => first!));
  for (const pass of passes) {
    const starts = [...pass].sort((a, b) => a - b);
    expect(starts).toEqual(starts.map((_, at) => starts[0]! + 4 * at));
    expect([starts[0]! >= 0, starts.at(-1)! + 4 < 80]).toEqual([true, true]);
    expect(pass).not.toEqual(starts);
  }
  expect(new Set(passes.map(String)).size).toBe(6);
  expect(rows(data.batches(7))).toEqual(seen.slice(21, 24));
  const kept = Array.from({ length: data.validation.count }, (_, at) => rows(data.validation.batches(at))).flat();
  expect(kept.map(([first, , , , last]) => [first, last])).toEqual([80, 84, 88, 92].map((first) => [first, first + 4]));

  const refuse = (message: string, more: object, given = tokens) =>
    expect(() => windows(given, { length: 4, batch: 3, ...more })).toThrow(message);
  refuse('tokens must be at least 112 for a batch of 24 windows of 4, got 100', { batch: 24 });
  refuse('the share for validation must be of at least 5 tokens, got 1', { validation: 0.01 });
  refuse('length must be an integer >= 1, got 0', { length: 0 });
});
