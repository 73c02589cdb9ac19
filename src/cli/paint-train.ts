import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { isRecord } from '../check';
import { ParameterError, ParseError } from '../errors';
import { writeSafetensors } from '../io';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { drawnGarments, GARMENTS } from '../pipelines/paint/garments';
import { type Wardrobe, wardrobeOf } from '../pipelines/paint/scenes';
import { NETWORKS, type NetworkName, readAll } from '../pipelines/paint/studio';
import { RECIPE, type TrainControl, type TrainStore, trainNetwork } from '../pipelines/paint/train';
import type { Runtime } from '../runtime/runtime';
import { printable } from '../text/printable';
import { quantizeWeights } from '../weights';
import { earlierRun } from './earlier-run';
import { lockFolder } from './lock-folder';
import { backendOption, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { readPictures } from './read-pictures';
import { openFile, readBytes } from './read-tensors';
import { parsedJson } from './saved';
import { say, writeFileAtomic } from './write-file';

interface TrainOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly out: string;
  readonly data?: string;
  readonly seed: number;
  readonly steps?: number;
  readonly resume?: true;
}

const SETTINGS = 'paint.json';
/** Garments that scenes are made of, where they are drawn. */
const DRAWN = 1200;

const EXAMPLES = `
Three networks are trained one after the other on scenes of two to four garments: a codec of pictures, a judge of what is in them,
and the painter. Garments are drawn, which needs no data, or are the pictures of a folder as of Fashion-MNIST, whose classes.txt
has a word for each class.

Examples:
  $ saccade paint train --out networks
  $ saccade paint train --out networks --data fashion-mnist
  $ saccade paint train --out networks --resume`;

export function paintTrainCommand(): Command {
  return new Command('train')
    .description('train networks that paint')
    .requiredOption('--out <folder>', 'where networks and checkpoints go')
    .option('--data <folder>', 'labelled pictures of at most 32 x 32; default: drawn garments')
    .option('--seed <number>', 'of weights and scenes', wholeNumber(0, 2 ** 31), 0)
    .option('--steps <count>', 'of each network, in place of the recipe', wholeNumber(1, 1_000_000))
    .option('--resume', 'go on with what is in the folder')
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText('after', EXAMPLES)
    .action(trainPainter);
}

/** The words of the classes that the networks of a folder know. */
export async function readWords(folder: string): Promise<string[]> {
  const path = join(folder, SETTINGS);
  const found = parsedJson(path, await readBytes(path));
  const words = isRecord(found) ? found.words : undefined;
  if (!Array.isArray(words) || !words.every((word) => typeof word === 'string'))
    throw new ParseError(`${path} must have the words of classes, as saccade paint train writes them`);
  return words;
}

async function trainPainter({ out, data, seed, steps, resume, backend, threads }: TrainOptions): Promise<void> {
  const wardrobe = data === undefined ? drawn() : await wardrobeIn(data);
  using _ = lockFolder(out);
  const described = { words: wardrobe.words, pictures: wardrobe.pictures.shape, seed, steps };
  const names = { run: 'training', settings: 'settings or pictures' };
  await earlierRun(join(out, SETTINGS), described, resume === true, names);
  await writeFileAtomic(join(out, SETTINGS), `${JSON.stringify(described, undefined, 2)}\n`);
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  await withProgress('training', async ({ signal, onProgress }) => {
    for (const [at, name] of NETWORKS.entries()) {
      const onStep = (share: number, loss: number) =>
        onProgress((at + share) / NETWORKS.length, `${name}, loss ${loss.toPrecision(3)}`);
      await trainOne(runtime, out, name, wardrobe, { seed, steps }, { signal, onStep });
    }
  });
  await say(`Trained: ${NETWORKS.join(', ')}. They paint with --weights ${printable(out)}`);
}

const drawn = (): Wardrobe => ({ pictures: drawnGarments(DRAWN, 1), words: GARMENTS });

async function wardrobeIn(folder: string): Promise<Wardrobe> {
  const { learned, classes } = await readPictures(folder);
  if (!classes) throw new ParameterError(`${folder} must have classes.txt, with a name for each class`);
  return wardrobeOf(learned, classes);
}

/** Trains a network unless its weights are there, and writes them in 8 bits. */
async function trainOne(
  runtime: Runtime,
  out: string,
  name: NetworkName,
  wardrobe: Wardrobe,
  { seed, steps }: { seed: number; steps: number | undefined },
  control: Pick<TrainControl, 'signal' | 'onStep'>,
): Promise<void> {
  if (await unlessMissing(readBytes(join(out, name, 'model.safetensors')))) return;
  const checkpoint = join(out, `${name}-last.safetensors`);
  const store: TrainStore = {
    read: () => unlessMissing(readBytes(checkpoint)),
    write: (file) => writeFileAtomic(checkpoint, file),
  };
  const codec = name === 'painter' ? await codecOf(runtime, out) : undefined;
  const settings = { ...RECIPE[name], ...(steps !== undefined && { steps }), seed };
  const tensors = await trainNetwork(runtime, name, wardrobe, settings, { codec, store, ...control });
  for (const each of Object.values(codec ?? {})) each.dispose();
  const whole = join(out, `${name}.safetensors`);
  await writeFileAtomic(whole, writeSafetensors(tensors));
  await using weights = await openFile(whole);
  await mkdir(join(out, name), { recursive: true });
  await quantizeWeights(weights, join(out, name), { type: 'q8' });
  await rm(whole);
  await rm(checkpoint, { force: true });
}

async function codecOf(runtime: Runtime, out: string) {
  await using weights = await openFile(join(out, 'codec'));
  const tensors = await readAll(weights);
  return Object.fromEntries(Object.entries(tensors).map(([name, host]) => [name, runtime.fromHost(host)]));
}

const unlessMissing = <T>(read: Promise<T>): Promise<T | undefined> =>
  read.catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return undefined;
  });
