import { Command } from 'commander';
import { writeSafetensors } from '../io';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import type { HostTensor } from '../tensor/host';
import { formatShape } from '../tensor/shape';
import { formatPercent, significant } from '../text/format';
import { printable } from '../text/printable';
import { readFitted } from './estimators';
import { backendOption, jsonOption, threadsOption } from './options';
import { errorsOf, largestOf, readPoints } from './points';
import { withProgress } from './progress';
import { readBytes } from './read-tensors';
import { checkWritable, say, writeFileAtomic, writeJson } from './write-file';

interface PredictOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly model: string;
  readonly in: string;
  readonly out: string;
  readonly json?: string;
}

export function predictCommand(): Command {
  return new Command('predict')
    .requiredOption('--model <file>', 'safetensors file that saccade fit wrote')
    .requiredOption('--in <file>', 'safetensors file with points x [m, p]; with y too, errors are told')
    .requiredOption('--out <file>', 'safetensors file for out [m, c], and variance [m] or labels [m]')
    .addOption(jsonOption('what was written, and errors,'))
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText(
      'after',
      '\nExample:\n  $ saccade predict --model model.safetensors --in x.safetensors --out y.safetensors',
    )
    .action(predict);
}

async function predict({ model: path, in: input, out, json, ...options }: PredictOptions): Promise<void> {
  for (const file of [out, json]) if (file !== undefined) await checkWritable(file);
  const bytes = await readBytes(path);
  using runtime = await createRuntime(options);
  const model = readFitted(path, bytes, runtime);
  const { x: points, y } = await readPoints(input, model.classes);
  using x = runtime.fromHost(points);
  const outputs: Record<string, HostTensor> = {};
  await withProgress('predict', async () => {
    for (const [name, tensor] of Object.entries(model.predict(x))) outputs[name] = await tensor.toHost();
  });
  const scores = outputs.out as HostTensor<'f32'>;
  if (model.classes !== undefined)
    outputs.labels = { dtype: 'i32', shape: [scores.shape[0] as number], data: largestOf(scores.data, model.classes) };
  await writeFileAtomic(out, writeSafetensors(outputs));
  const written = Object.entries(outputs).map(([name, { dtype, shape }]) => `${name} ${formatShape(shape)} ${dtype}`);
  const errors = y && y.values.shape[1] === scores.shape[1] ? errorsOf(scores.data, y) : undefined;
  const told = errors
    ? [
        `mean squared error ${significant(errors.error)}${errors.right === undefined ? '' : `, ${formatPercent(errors.right)} right`}`,
      ]
    : [];
  const tensors = Object.entries(outputs).map(([name, { dtype, shape }]) => ({ name, type: dtype, shape }));
  await writeJson(json, { written: out, tensors, ...errors });
  await say([`${printable(out)}: ${written.join(', ')}`, ...told].join('\n'), out, json);
}
