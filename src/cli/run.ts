import { Command } from 'commander';
import { ShapeError } from '../errors';
import { writeSafetensors } from '../io';
import { withGradients } from '../methods/define';
import { findMethod } from '../methods/registry';
import { createRuntime, type RuntimeOptions } from '../runtime/runtime';
import { controlOf } from '../runtime/turns';
import { pullback } from '../tape';
import type { HostTensor } from '../tensor/host';
import { formatShape, sameShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { printable } from '../text/printable';
import { backendOption, paramsOption, parseParams, threadsOption } from './options';
import { withProgress } from './progress';
import { readTensorsOf } from './read-tensors';
import { checkWritable, say, writeFileAtomic } from './write-file';

interface RunOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly in: string;
  readonly out: string;
  readonly params?: string;
  readonly grad?: true;
}

/** In the input file, what `--grad` starts from. */
const GRAD_OUT = 'grad_out';

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
  await checkWritable(out);
  const { [GRAD_OUT]: gradOut, ...inputs } = await readTensorsOf(method, input, {
    // One file serves with and without --grad.
    [grad ? 'required' : 'optional']: [GRAD_OUT],
  });
  if (gradOut && !grad)
    process.stderr.write(`${GRAD_OUT} of ${printable(input)} is not used: --grad asks for gradients\n`);

  using runtime = await createRuntime(options);
  const tensors = Object.fromEntries(Object.entries(inputs).map(([key, host]) => [key, runtime.fromHost(host)]));
  const byOut = grad && gradOut && runtime.fromHost(gradOut);
  let warning: string | undefined;
  const results = await withProgress(name, async (control) => {
    warning = await method.warning?.(tensors, settings, { signal: control.signal });
    if (!byOut) return method.forward(tensors, settings, control);
    const [there, back] = [controlOf(control, 0, 2), controlOf(control, 1, 2)];
    const call = (tracked: Record<string, Tensor>) => method.forward({ ...tensors, ...tracked }, settings, there);
    using recorded = pullback(call, withGradients(method, tensors));
    const { results } = recorded;
    checkGradOut(byOut, results.out as Tensor);
    const gradients = Object.entries<Tensor>(recorded.pull({ out: byOut }, back));
    return { ...results, ...Object.fromEntries(gradients.map(([key, tensor]) => [`grad_${key}`, tensor])) };
  });
  const outputs: Record<string, HostTensor> = {};
  for (const [key, tensor] of Object.entries(results)) outputs[key] = await tensor.toHost();
  await writeFileAtomic(out, writeSafetensors(outputs));

  if (warning !== undefined) process.stderr.write(`${name}: ${warning}\n`);
  const written = Object.entries(outputs).map(([key, { dtype, shape }]) => `${key} ${formatShape(shape)} ${dtype}`);
  await say(`${printable(out)}: ${written.join(', ')}`, out);
}

function checkGradOut(gradOut: Tensor, out: Tensor): void {
  if (sameShape(gradOut.shape, out.shape)) return;
  throw new ShapeError(
    `${GRAD_OUT} must have the shape ${formatShape(out.shape)} of out, got ${formatShape(gradOut.shape)}`,
  );
}
