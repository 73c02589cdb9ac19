import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { shellCommand } from './shell';

/** What a shell makes of words: each ends in a zero byte. */
function wordsOf(words: readonly string[]): string[] {
  const command = shellCommand(['printf', '%s\\0', ...words]);
  return execFileSync('sh', ['-c', command], { encoding: 'utf8' }).split('\0').slice(0, -1);
}

test('words that need no quotes have none', () => {
  expect(shellCommand(['saccade', 'bench', '--n', '1024,2048', '--json', 'docs/a_b-c.json'])).toBe(
    'saccade bench --n 1024,2048 --json docs/a_b-c.json',
  );
  expect(shellCommand(['saccade', '--params', '{"window":[4,0]}'])).toBe(`saccade --params '{"window":[4,0]}'`);
});

const HOSTILE = [
  "x'; touch owned; echo '",
  "'",
  "''\\'",
  '"$(touch owned)"',
  '`touch owned`',
  '$HOME $(id) $((1))',
  '\\',
  "\\'; touch owned #",
  '!! !$ ~ * ? [a] {a,b}',
  'a\nb\n',
  'a=b',
  '#',
  '~',
  '-n',
  '%s %n',
  '& | ; < > ( )',
  '',
  ' ',
  '\u2028\u202e\u00a0é😀',
  '\u0003\r\u001b[200~touch owned\u0015\t\b\u007f\u009b',
];

test('a shell takes each word for itself', () => {
  expect(wordsOf(HOSTILE)).toEqual(HOSTILE);
});

test('so it does with random words', () => {
  // A word holds no zero byte, and no half of a surrogate pair.
  const word = fc.string({ unit: fc.constantFrom(...`'"\\$\`!;&|()<> \n\t\r\u001b{}[]*?~#=%ab-é😀\u202e`) });
  const any = fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0'));
  const property = fc.property(fc.array(fc.oneof(word, any), { minLength: 1, maxLength: 40 }), (words) => {
    expect(wordsOf(words)).toEqual(words);
  });
  fc.assert(property, { numRuns: 50 });
});

test('nothing in a command acts on the terminal it is pasted into', () => {
  const copied = shellCommand(HOSTILE);
  expect(copied).not.toMatch(/[^\P{Cc}\n]|\p{Bidi_Control}/u);
});
