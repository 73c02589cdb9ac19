import { expect, test } from 'vitest';
import { band, causal, full } from './band';
import { type Mask, oneHead } from './mask';
import { maskCount, maskSvg, maskText } from './picture';

test('every pair has a cell where they fit', () => {
  expect(maskText(causal(), oneHead(3, 4), 80)).toBe(
    ['  keys 0 to 3 →, queries 0 to 2 ↓', '0 ████ · ·', '  ██████ ·', '2 ████████', '  ██ seen   · not seen'].join(
      '\n',
    ),
  );
});

test('cells of many pairs are shaded by the share seen', () => {
  const picture = maskText(band(-1, 0), oneHead(16, 16), 11).split('\n');
  expect(picture.slice(1, -1)).toEqual([' 0 ▒▒ · · ·', '   ██▒▒ · ·', '   ████▒▒ ·', '12 ██████▒▒']);
  expect(picture.at(-1)).toContain('4 × 4 pairs');
});

test('a share below all is never drawn as all, one above none never as none', () => {
  const allButOne: Mask = { ...full(), intervals: (i) => (i === 0 ? [1, 64] : [0, 64]) };
  expect(maskText(allButOne, oneHead(64, 64), 5).split('\n')[1]).toBe(' 0 ▓▓');
  const one: Mask = { ...full(), intervals: (i) => (i === 0 ? [0, 1] : []) };
  expect(maskText(one, oneHead(64, 64), 5).split('\n')[1]).toBe(' 0 ░░');
});

test.each([
  [1, 1, 80],
  [1000, 1000, 80],
  [7, 5000, 33],
  [100_000, 1, 40],
])('%i x %i pairs fit into %i columns', (n, m, columns) => {
  const lines = maskText(causal(), oneHead(n, m), columns).split('\n').slice(1, -1);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
  expect(lines.length).toBeLessThanOrEqual(columns / 2);
});

test('counts', () => {
  expect(maskCount(causal(), oneHead(64, 64))).toBe('2,080 of 4,096 pairs seen (50.8%)');
});

test('the SVG covers what the mask sees, pair by pair', () => {
  const svg = maskSvg(band(2, 1), oneHead(9, 12));
  const seen = new Set<string>();
  for (const [, x, y, width] of svg.matchAll(/M(\d+) (\d+)h(\d+)v1H\1z/g)) {
    for (let j = Number(x); j < Number(x) + Number(width); j++) seen.add(`${y},${j}`);
  }
  for (let i = 0; i < 9; i++) {
    for (let j = 0; j < 12; j++) expect(seen.has(`${i},${j}`)).toBe(band(2, 1).sees(i, j, oneHead(9, 12)));
  }
});

test('the SVG is self-contained, escaped and small for long sequences', () => {
  const svg = maskSvg(band(500, 300), oneHead(65_536, 65_536), { title: 'a < b & c' });
  expect(svg).toContain('a &#60; b &#38; c');
  expect(svg).not.toMatch(/href|url\(|<script|<style/);
  expect(svg.length).toBeLessThan(30_000);
});

test('a bare picture is the plot alone, with its title element', () => {
  const svg = maskSvg(band(2, 1), oneHead(9, 12), { bare: true });
  expect(svg).not.toContain('<text');
  expect(svg).toContain('viewBox="0 0 384 288"');
  expect(svg).toContain('<title>window [2, 1], ');
});
