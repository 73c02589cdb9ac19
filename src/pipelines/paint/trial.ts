/** How often pictures have both subjects of their prompts, and what that costs, by ways to paint. */
import { uniformGenerator } from '../../tensor/random';
import { total } from './latent-mapper';
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
  /** For each prompt the sum of the mapper's scores for the first noise, the lower the better; of ways with a mapper. */
  readonly scores?: readonly number[];
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

/** What came of a prompt, by arm. */
export interface TriedPrompt {
  readonly prompt: string;
  readonly found: Readonly<Record<string, TriedArm>>;
}

interface TriedArm {
  /** Whether all subjects are there, by the judge. */
  readonly present: boolean;
  /** Passes, where one back counts as two. */
  readonly passes: number;
  /** Processor time; 0 where that is not told. */
  readonly milliseconds: number;
  /** The sum of the mapper's scores for the first noise, the lower the better. */
  readonly score?: number;
}

interface TrialControl extends PaintControl {
  /** Prompts that were tried before, in the same order with the same arms and seed. */
  readonly earlier?: readonly TriedPrompt[] | undefined;
  readonly onPrompt?: ((tried: TriedPrompt) => Promise<void> | void) | undefined;
}

/** Each arm on each prompt, all from the same first noise. */
export async function tried(
  studio: Studio,
  prompts: readonly string[],
  arms: Arms,
  seed: number,
  { signal, onProgress, earlier = [], onPrompt }: TrialControl = {},
): Promise<Record<string, Outcome>> {
  const names = Object.keys(arms);
  const all = [...earlier];
  for (const [at, prompt] of prompts.entries()) {
    if (at < earlier.length) continue;
    const { classes } = parsePrompt(prompt, studio.words);
    const found: Record<string, TriedArm> = {};
    for (const [arm, name] of names.entries()) {
      const before = globalThis.process?.cpuUsage?.();
      const painting = await paint(studio, prompt, { ...arms[name], seed: seed + at }, { signal });
      const spent = before && process.cpuUsage(before);
      found[name] = {
        present: classes.every((label) => (painting.present[label] as number) >= PRESENT),
        passes: painting.passes + 2 * painting.backward,
        milliseconds: spent ? (spent.user + spent.system) / 1000 : 0,
        ...(painting.mapped && { score: total(painting.mapped.before) }),
      };
      onProgress?.((at + (arm + 1) / names.length) / prompts.length);
    }
    all.push({ prompt, found });
    await onPrompt?.({ prompt, found });
  }
  return Object.fromEntries(names.map((name) => [name, outcomeOf(all.map(({ found }) => found[name]!))]));
}

function outcomeOf(found: readonly TriedArm[]): Outcome {
  const meanOf = (what: 'passes' | 'milliseconds') => found.reduce((sum, each) => sum + each[what], 0) / found.length;
  return {
    present: found.map(({ present }) => present),
    passes: meanOf('passes'),
    milliseconds: meanOf('milliseconds'),
    ...(found.every(({ score }) => score !== undefined) && { scores: found.map(({ score }) => score as number) }),
  };
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
