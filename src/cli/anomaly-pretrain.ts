import { join } from 'node:path';
import { Command } from 'commander';
import { ParameterError } from '../errors';
import { writeSafetensors } from '../io';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { POINT_MAE, pretrain } from '../pipelines/anomaly';
import { significant } from '../text/format';
import { printable } from '../text/printable';
import { lockFolder } from './lock-folder';
import { backendOption, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { readMeshes } from './read-clouds';
import { readIfThere } from './read-tensors';
import { say, writeFileAtomic } from './write-file';

interface PretrainOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly out: string;
  readonly meshes: readonly string[];
  readonly steps: number;
  readonly batch: number;
  readonly seed: number;
  readonly every: number;
  readonly resume?: true;
}

const LEARNING_RATE = 1e-3;

export function anomalyPretrainCommand(): Command {
  return new Command('pretrain')
    .description('train the small Point-MAE whose tokens detectors stand on, by masking')
    .option('--out <folder>', 'where checkpoints and weights go', 'point-mae')
    .option('--meshes <files>', 'meshes beside the fourteen shapes', (text) => text.split(','), [])
    .option('--steps <count>', 'steps', wholeNumber(1, 1_000_000), 1500)
    .option('--batch <clouds>', 'clouds of a step', wholeNumber(1, 4096), 8)
    .option('--seed <number>', 'of shapes, masks and first weights', wholeNumber(0, 2 ** 31 - 1), 1)
    .option('--every <steps>', 'steps between checkpoints', wholeNumber(1, 1_000_000), 100)
    .option('--resume', 'go on with what is in the folder')
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText(
      'after',
      '\nExample:\n  $ saccade anomaly pretrain --out point-mae && saccade quantize --in point-mae/model.safetensors --out small.safetensors',
    )
    .action(pretrainPointMae);
}

async function pretrainPointMae({ out, meshes, resume, every, backend, threads, ...asked }: PretrainOptions) {
  const settings = { ...asked, learningRate: LEARNING_RATE };
  const geometries = await readMeshes(meshes);
  using _ = lockFolder(out);
  const path = join(out, 'last.safetensors');
  const before = await readIfThere(path);
  if (before && !resume)
    throw new ParameterError(`${path} is of a training already: go on with --resume, or pass another folder as --out`);
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const { tensors, history } = await withProgress('training', ({ signal, onProgress }) =>
    pretrain(runtime, POINT_MAE, settings, {
      ...{ meshes: geometries, signal, ...(before && { resume: before }) },
      checkpoint: { every, save: (name, file) => writeFileAtomic(join(out, `${name}.safetensors`), file), settings },
      onStep: ({ step, loss }) => onProgress(step / settings.steps, `loss ${loss.toPrecision(3)}`),
    }),
  );
  const hosts = await Promise.all(
    Object.entries(tensors).map(async ([name, tensor]) => [name, await tensor.toHost()] as const),
  );
  await writeFileAtomic(
    join(out, 'model.safetensors'),
    writeSafetensors(Object.fromEntries(hosts), { metadata: { format: 'pt' } }),
  );
  const last = history.losses.slice(-50);
  await say(
    `Loss of the last ${last.length} steps: ${significant(last.reduce((sum, each) => sum + each, 0) / last.length)}\nWritten: ${printable(out)}`,
  );
}
