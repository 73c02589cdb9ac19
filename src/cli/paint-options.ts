/** What `saccade paint` and `saccade paint test` share: how pictures are painted, and by which networks. */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { ParameterError } from '../errors';
import type { RuntimeOptions } from '../ops/create-runtime';
import type { MAPPER_WAYS, MapperOptions } from '../pipelines/paint/latent-mapper';
import type { PaintSettings } from '../pipelines/paint/paint';
import { BASES, RECOVERIES, WAYS } from '../pipelines/paint/prune';
import { type NetworkName, openStudio, readAll, Studio } from '../pipelines/paint/studio';
import type { Runtime } from '../runtime/runtime';
import { printable } from '../text/printable';
import { backendOption, threadsOption, wholeNumber } from './options';
import { readWords } from './paint-train';
import { openFile } from './read-tensors';

/** What says how pictures are painted, of this command and of `paint test`. */
export interface SamplerOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly weights?: string;
  readonly steps: number;
  readonly guidance: number;
  readonly seed: number;
  readonly prune?: number;
  readonly way: (typeof WAYS)[number];
  readonly base: (typeof BASES)[number];
  readonly recover: (typeof RECOVERIES)[number];
  readonly shared: number;
  readonly rounds?: number;
  readonly moves: number;
  readonly last: number;
  readonly distance: number;
}

export function samplerOptions(command: Command): Command {
  const choice = (flag: string, what: string, choices: readonly string[]) =>
    new Option(flag, what).choices([...choices]).default(choices[0]);
  return command
    .option('--weights <folder>', 'networks that saccade paint train made')
    .option('--steps <count>', 'steps of the sampler', wholeNumber(1, 1000), 25)
    .option('--guidance <factor>', 'how far predictions go beyond those without a prompt', finite('guidance', 0), 3)
    .option('--seed <number>', 'of the first noise', wholeNumber(0, 2 ** 31), 0)
    .option('--prune <ratio>', 'leave out this share of places in self-attention', finite('prune', 0))
    .addOption(choice('--way <way>', 'of leaving out: pruning, or merging as means', WAYS))
    .addOption(choice('--base <place>', 'which place of each 2 x 2 is always kept', BASES))
    .addOption(choice('--recover <when>', 'when pruned places are copied, after or before attention', RECOVERIES))
    .option('--shared <steps>', 'steps that share a choice of places', wholeNumber(1, 1000), 1)
    .option(
      '--rounds <count>',
      'first noises that the mapper tries; default: 8 to choose from, 5 to move',
      wholeNumber(1, 1000),
    )
    .option('--moves <count>', 'steps by which it moves each', wholeNumber(0, 1000), 10)
    .option('--last <count>', 'steps by which it moves the best, where none is good enough', wholeNumber(0, 1000), 50)
    .option('--distance <number>', 'how far from normal noise it may go, a number', finite('distance', 0), 0.001)
    .addOption(backendOption())
    .addOption(threadsOption());
}

const finite = (name: string, least: number) => (text: string) => {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < least)
    throw new ParameterError(`${name} must be a number of at least ${least}, got '${printable(text)}'`);
  return value;
};

/** The settings that options ask for, without the mapper. */
export function settingsOf({ steps, guidance, prune: ratio, way, base, recover, shared, seed }: SamplerOptions) {
  const prune = ratio === undefined ? undefined : { ratio, way, base, recover, shared, seed };
  return { steps, guidance, seed, prune } satisfies PaintSettings;
}

/** How the first noise is placed; what moves it is told only where it is moved. */
export const mapperOf = (
  { rounds, moves: steps, last, distance }: SamplerOptions,
  way: (typeof MAPPER_WAYS)[number] = 'chosen',
): MapperOptions => (way === 'chosen' ? { way, rounds } : { way, rounds, steps, last, distance });

/** The networks of a folder, or those that come along. */
export async function studioIn(runtime: Runtime, folder: string | undefined): Promise<Studio> {
  if (folder === undefined) return openStudio(runtime);
  const words = await readWords(folder);
  const read = async (name: NetworkName) => {
    await using weights = await openFile(join(folder, name));
    return await readAll(weights);
  };
  const tensors = { codec: await read('codec'), judge: await read('judge'), painter: await read('painter') };
  return Studio.of(runtime, words, tensors);
}
