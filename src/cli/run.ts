import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Command } from 'commander';
import { UnsupportedError } from '../errors';
import { writeSafetensors } from '../io';
import { findMethod } from '../methods/registry';
import { createRuntime, type RuntimeOptions } from '../runtime/runtime';
import type { HostTensor } from '../tensor/host';
import { formatShape } from '../tensor/shape';
import { backendOption, paramsOption, parseParams, threadsOption } from './options';
import { withProgress } from './progress';
import { readTensorsOf } from './read-tensors';
import { writeFileAtomic } from './write-file';

interface RunOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly in: string;
  readonly out: string;
  readonly params?: string;
  readonly grad?: true;
}

export function runCommand(): Command {
  return new Command('run')
    .description('run a method on the tensors of a file')
    .argument('<method>')
    .requiredOption('--in <file>', 'safetensors file that holds the inputs by name')
    .requiredOption('--out <file>', 'safetensors file for the outputs; it appears whole or not at all')
    .addOption(paramsOption())
    .option('--grad', 'also compute gradients, from grad_out in the input file')
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText('after', `\nExample:\n  $ saccade run attention --in qkv.safetensors --out result.safetensors`)
    .action(runMethod);
}

async function runMethod(name: string, { in: input, out, params, grad, ...options }: RunOptions): Promise<void> {
  const method = findMethod(name);
  const settings = parseParams(method, params);
  if (grad) throw new UnsupportedError(`${name} has no gradients: leave --grad out`);
  // Better known now than after the work.
  await access(dirname(out), constants.W_OK);
  const inputs = await readTensorsOf(method, input);

  using runtime = await createRuntime(options);
  const tensors = Object.fromEntries(Object.entries(inputs).map(([key, host]) => [key, runtime.fromHost(host)]));
  const results = await withProgress(name, (control) => method.forward(tensors, settings, control));
  const outputs: Record<string, HostTensor> = {};
  for (const [key, tensor] of Object.entries(results)) outputs[key] = await tensor.toHost();
  await writeFileAtomic(out, writeSafetensors(outputs));

  const written = Object.entries(outputs).map(([key, { dtype, shape }]) => `${key} ${formatShape(shape)} ${dtype}`);
  process.stdout.write(`${out}: ${written.join(', ')}\n`);
}
