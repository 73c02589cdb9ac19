/** How often pictures have both subjects of their prompts, and what that costs, by ways to paint. */
import { uniformGenerator } from '../../tensor/random';
import { type PaintControl, type PaintSettings, PRESENT, paint } from './paint';
import { parsePrompt, promptOf } from './prompts';
import type { Studio } from './studio';

/** A way to paint, by name. */
export type Arms = Readonly<Record<string, PaintSettings>>;

export interface Outcome {
  /** For each prompt whether all of its subjects are there, by the judge. */
  readonly present: readonly boolean[];
  /** Passes of one picture, where one back counts as two; the mean over prompts. */
  readonly passes: number;
  /** Processor time of a picture in milliseconds; 0 where that is not told. */
  readonly milliseconds: number;
}

/** `count` prompts of two of the words. */
export function pairsOf(words: readonly string[], count: number, seed: number): string[] {
  const random = uniformGenerator(seed);
  return Array.from({ length: count }, () => {
    const first = Math.floor(random() * words.length);
    const second = (first + 1 + Math.floor(random() * (words.length - 1))) % words.length;
    return promptOf([words[first] as string, words[second] as string]);
  });
}

/** Each arm on each prompt, all from the same first noise. */
export async function tried(
  studio: Studio,
  prompts: readonly string[],
  arms: Arms,
  seed: number,
  { signal, onProgress }: PaintControl = {},
): Promise<Record<string, Outcome>> {
  const names = Object.keys(arms);
  const found = Object.fromEntries(
    names.map((name) => [name, { present: [] as boolean[], passes: 0, milliseconds: 0 }]),
  );
  for (const [at, prompt] of prompts.entries()) {
    const { classes } = parsePrompt(prompt, studio.words);
    for (const [arm, name] of names.entries()) {
      const own = found[name]!;
      const before = globalThis.process?.cpuUsage?.();
      const { present, passes, backward } = await paint(studio, prompt, { ...arms[name], seed: seed + at }, { signal });
      const spent = before && process.cpuUsage(before);
      own.present.push(classes.every((label) => (present[label] as number) >= PRESENT));
      own.passes += (passes + 2 * backward) / prompts.length;
      own.milliseconds += spent ? (spent.user + spent.system) / 1000 / prompts.length : 0;
      onProgress?.((at + (arm + 1) / names.length) / prompts.length);
    }
  }
  return found;
}

/** The share of true ones, with Wilson's interval of 95%. */
export function shareOf(present: readonly boolean[]): Readonly<Record<'share' | 'low' | 'high', number>> {
  const count = present.length;
  const share = present.filter(Boolean).length / count;
  const z = 1.96;
  const middle = (share + z ** 2 / (2 * count)) / (1 + z ** 2 / count);
  const half = (z / (1 + z ** 2 / count)) * Math.sqrt((share * (1 - share)) / count + (z / (2 * count)) ** 2);
  return { share, low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}
