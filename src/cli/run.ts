import { Command } from 'commander';
import { isRecord, labelled } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { writeSafetensors } from '../io';
import { withGradients } from '../methods/define';
import { type Results, settled } from '../methods/outputs';
import { methods } from '../methods/registry';
import { type CreatedModel, isPublishedWith, type Model } from '../models/define';
import { models } from '../models/registry';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { controlOf } from '../runtime/guard';
import type { Runtime } from '../runtime/runtime';
import { pullback } from '../tape';
import type { DType } from '../tensor/dtype';
import type { HostTensor } from '../tensor/host';
import { formatShape, sameShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { printable } from '../text/printable';
import type { Weights } from '../weights';
import { table } from './list';
import { METHOD_OR_MODULE, readMethod } from './methods';
import { backendOption, paramsOption, parseJson, parseParams, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { openFile, readTensorsOf } from './read-tensors';
import { checkWritable, say, writeFileAtomic } from './write-file';

interface RunOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly in: string;
  readonly out: string;
  readonly params?: string;
  readonly grad?: true;
  readonly weights?: string;
  readonly seed?: number;
}

const EXAMPLES = `
Examples:
  $ saccade run attention --in qkv.safetensors --out result.safetensors
  $ saccade run decoder --weights model.safetensors --in tokens.safetensors \\
      --out logits.safetensors --params '{"config": {"model_type": "llama", ...}}'`;

/** The tensor of the input file that `--grad` starts from. */
const GRAD_OUT = 'grad_out';

export function runCommand(): Command {
  return new Command('run')
    .argument(
      '<method>',
      `a method, ${METHOD_OR_MODULE}, or one of the models: ${models.map(({ name }) => name).join(', ')}`,
    )
    .requiredOption('--in <file>', 'safetensors file that holds the inputs by name')
    .requiredOption('--out <file>', 'safetensors file for the outputs; it appears whole or not at all')
    .addOption(paramsOption())
    .option('--grad', 'also compute gradients, from grad_out in the input file')
    .option(
      '--weights <path>',
      'of a model: its parameters, in safetensors, a folder of them, GGUF or a checkpoint of PyTorch; default: what a package ships, or random ones',
    )
    .option('--seed <number>', 'of a model: makes random parameters; default: 0', wholeNumber(0, 2 ** 31 - 1))
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText('after', ({ command }) => [EXAMPLES, ...described(command.args[0])].join('\n'))
    .action((name: string, options: RunOptions) => {
      const model = models.find((each) => each.name === name);
      return model ? runModel(model, options) : runMethod(name, options);
    });
}

/** What the help of `run NAME` adds, if there is such a method or model. */
function described(name: string | undefined): string[] {
  const found = [...methods, ...models].filter((each) => each.name === name);
  return found.length > 0 ? ['', table(found)] : [];
}

async function runModel(model: Model, { in: input, out, params, grad, weights, seed, ...options }: RunOptions) {
  if (grad) throw new ParameterError(`--grad is of methods: ${model.name} is a model`);
  if (weights !== undefined && seed !== undefined)
    throw new ParameterError('--seed makes weights: leave --weights out');
  await using file = weights === undefined ? undefined : await openFile(weights);
  const { initialize, load, fold, infer } = created(model, parseJson(params), file);
  await checkWritable(out);
  const inputs = await readTensorsOf(model, input);
  using runtime = await createRuntime(options);
  const isPublished = !file && seed === undefined && isPublishedWith(model, parseJson(params));
  const published = isPublished ? await model.published?.load() : undefined;
  const parameters = file
    ? await withProgress(file.name, (control) =>
        load(runtime, file, { ...control, types: model.keepsTypes ? 'stored' : 'f32' }),
      )
    : published
      ? load(runtime, published.tensors)
      : initialize(runtime, { seed: seed ?? 0 });
  const tensors = onRuntime(runtime, inputs);
  const folded = runtime.scope(() => fold(parameters));
  const results = await withProgress(model.name, async ({ signal }) => infer(tensors, folded, { signal }));
  await writeResults(out, results);
}

/** A model with the params that are given, and those that the weights' configuration gives. */
function created(model: Model, params: Record<string, unknown>, file: Weights | undefined): CreatedModel {
  if (!file?.config || !model.configured || !isRecord(params)) return model.create(params);
  const configured = model.configured(file.config);
  if (Object.keys(configured).every((name) => name in params)) return model.create(params);
  try {
    return model.create({ ...configured, ...params });
  } catch (error) {
    throw labelled(file.name, error);
  }
}

async function runMethod(
  name: string,
  { in: input, out, params, grad, weights, seed, ...options }: RunOptions,
): Promise<void> {
  const method = await readMethod(name);
  if ((weights ?? seed) !== undefined)
    throw new ParameterError(`--weights and --seed are of models: ${name} is a method`);
  const settings = parseParams(method, params);
  // A method without gradients is refused before its file is asked for one.
  if (grad) withGradients(method, {});
  await checkWritable(out);
  const { [GRAD_OUT]: gradOut, ...inputs } = await readTensorsOf(method, input, {
    // The same file can be used with and without --grad.
    [grad ? 'required' : 'optional']: [GRAD_OUT],
  });
  if (gradOut && !grad)
    process.stderr.write(`${GRAD_OUT} of ${printable(input)} is not used: --grad asks for gradients\n`);

  using runtime = await createRuntime(options);
  const tensors = onRuntime(runtime, inputs);
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
  await writeResults(out, results, warning && `${name}: ${warning}`);
}

function onRuntime(runtime: Runtime, hosts: Readonly<Record<string, HostTensor<DType>>>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(hosts).map(([key, host]) => [key, runtime.fromHost(host)]));
}

/** Reads the results, writes them, and says what they are. */
async function writeResults(out: string, results: Results, warning?: string): Promise<void> {
  const outputs: Record<string, HostTensor> = {};
  for (const [key, tensor] of Object.entries(await settled(results))) outputs[key] = await tensor.toHost();
  await writeFileAtomic(out, writeSafetensors(outputs));

  if (warning !== undefined) process.stderr.write(`${warning}\n`);
  const written = Object.entries(outputs).map(([key, { dtype, shape }]) => `${key} ${formatShape(shape)} ${dtype}`);
  await say(`${printable(out)}: ${written.join(', ')}`, out);
}

function checkGradOut(gradOut: Tensor, out: Tensor): void {
  if (sameShape(gradOut.shape, out.shape)) return;
  throw new ShapeError(
    `${GRAD_OUT} must have the shape ${formatShape(out.shape)} of out, got ${formatShape(gradOut.shape)}`,
  );
}
