import { Command, Option } from 'commander';
import { ParameterError } from '../errors';
import { type CrossValidation, crossValidateKernelRidge, type Kernel } from '../kernels';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import type { Control } from '../runtime/backend';
import { controlOf } from '../runtime/guard';
import type { Runtime } from '../runtime/runtime';
import { uniform } from '../tensor/random';
import type { Tensor } from '../tensor/tensor';
import { formatPercent, significant } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, right } from '../text/table';
import {
  ESTIMATORS,
  type Estimator,
  type EstimatorParams,
  estimatorParams,
  fitEstimator,
  kernelOf,
  writeFitted,
} from './estimators';
import { backendOption, jsonOption, parseJson, threadsOption, wholeNumber } from './options';
import { errorsOf, type Points, readTargetedPoints, type TargetedPoints } from './points';
import { withProgress } from './progress';
import { checkWritable, say, writeFileAtomic, writeJson } from './write-file';

interface FitOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly in: string;
  readonly out: string;
  readonly method: Estimator;
  readonly params?: string;
  readonly test?: string;
  readonly report: number;
  readonly json?: string;
}

const EXAMPLES = `
The input has x [n, p] and y: numbers [n, c] or [n], or classes [n] in i32.

Examples:
  $ saccade fit --in train.safetensors --out model.safetensors \\
      --params '{"kernel": "gaussian", "bandwidth": 5, "ridge": [0.01, 0.1, 1]}'
  $ saccade fit --in train.safetensors --test test.safetensors --out model.safetensors \\
      --params '{"bandwidth": 5, "ridge": 0.1, "solver": "nystrom", "centres": 3000}'
  $ saccade predict --model model.safetensors --in x.safetensors --out y.safetensors`;

/** Points whose errors are told by ridge and size; an eigendecomposition of so many takes a second or two. */
const REPORTED = 1000;
/** The most among which a ridge is chosen. */
const MOST_CHOSEN = 4000;
/** Ridges of the report, over the mean of the kernel's diagonal; those near the one that was used. */
const STEPS = [0.001, 0.01, 0.1, 1, 10, 100, 1000];
const TOLD_EIGENVALUES = 10;

export function fitCommand(): Command {
  return new Command('fit')
    .requiredOption('--in <file>', 'safetensors file with points x [n, p] and targets y')
    .requiredOption('--out <file>', 'safetensors file for the model; it appears whole or not at all')
    .addOption(new Option('--method <name>', 'what is fitted').choices(ESTIMATORS).default('kernel-ridge'))
    .addOption(new Option('--params <json>', 'params of the method, such as \'{"bandwidth": 2}\''))
    .option('--test <file>', 'more points and targets, on which errors are told')
    .option(
      '--report <points>',
      'of how many points errors are told by ridge and by size, and the spectrum; 0: none',
      wholeNumber(0, MOST_CHOSEN),
      REPORTED,
    )
    .addOption(jsonOption('the report'))
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText('after', EXAMPLES)
    .action(fitFile);
}

/** Errors on points left out, by ridge and by the number of points, and eigenvalues of the kernel matrix. */
interface Report {
  readonly points: number;
  readonly ridges: readonly { readonly ridge: number; readonly error: number; readonly freedom: number }[];
  readonly sizes: readonly { readonly points: number; readonly error: number; readonly right?: number | undefined }[];
  readonly eigenvalues: readonly number[];
}

async function fitFile({ in: input, out, method, params, test, report: points, json, ...options }: FitOptions) {
  const asked = estimatorParams(method, parseJson(params));
  for (const file of [out, json]) if (file !== undefined) await checkWritable(file);
  const data = await readTargetedPoints(input);
  const held = test === undefined ? undefined : await readTargetedPoints(test, data.y.classes);
  using runtime = await createRuntime(options);
  const [x, y] = [runtime.fromHost(data.x), runtime.fromHost(data.y.values)];
  const found = await withProgress(`fit ${method}`, async (control) => {
    const [choosing, fitting, telling] = [0, 1, 2].map((at) => controlOf(control, at, 3)) as [
      Control,
      Control,
      Control,
    ];
    const chosen = await withRidge(asked, x, y, choosing);
    const model = await fitEstimator(chosen, x, y, fitting);
    const report = points > 0 ? await reportOf(runtime, chosen, data, points, telling) : undefined;
    const errors = held && (await testErrors(runtime, model, held));
    return { chosen, model, report, errors };
  });
  await writeFileAtomic(out, await writeFitted(found.model, data.y.classes));
  const told = {
    ...{ method, params: found.chosen.params, points: data.x.shape[0] },
    ...{ fit: found.model.told, test: found.errors, report: found.report },
  };
  await writeJson(json, { format: 'saccade fit report', version: 1, ...told });
  await say([...linesOf(told, found.report), `Written: ${printable(out)}`].join('\n'), out, json);
}

/** Params with one ridge: of several the one with the least error on points left out. */
async function withRidge(asked: EstimatorParams, x: Tensor, y: Tensor, control: Control): Promise<EstimatorParams> {
  if (asked.method !== 'kernel-ridge' || typeof asked.params.ridge === 'number') return asked;
  const n = x.shape[0] as number;
  if (n > MOST_CHOSEN)
    throw new ParameterError(
      `ridge can be a list for at most ${MOST_CHOSEN} points, got ${n}: choose one on some of them, and pass it alone`,
    );
  const { best } = await crossValidateKernelRidge(kernelOf(asked.params), x, y, {
    ridges: asked.params.ridge,
    ...control,
  });
  return { ...asked, params: { ...asked.params, ridge: best } };
}

async function testErrors(runtime: Runtime, model: Awaited<ReturnType<typeof fitEstimator>>, held: TargetedPoints) {
  using x = runtime.fromHost(held.x);
  const { out, ...others } = model.predict(x) as { out: Tensor };
  for (const each of Object.values(others) as Tensor[]) each.dispose();
  using own = out;
  return errorsOf((await own.read()) as Float32Array, held.y);
}

/** The report on some of the points, drawn evenly; none for random features, whose kernel is only met by many. */
async function reportOf(
  runtime: Runtime,
  { method, params }: EstimatorParams,
  { x, y }: TargetedPoints,
  points: number,
  control: Control,
): Promise<Report | undefined> {
  if (method === 'random-features' || runtime.backend.name === 'webgpu') return undefined;
  const kernel = kernelOf(params);
  const n = x.shape[0] as number;
  const used = method === 'kernel-ridge' ? (params.ridge as number) : params.noise / params.amplitude;
  const keys = uniform(n, 0);
  const order = [...keys.keys()].sort((a, b) => keys[a]! - keys[b]!).slice(0, points);
  const ridges = used > 0 ? STEPS.map((step) => step * used) : STEPS;
  const sizes = [...new Set([8, 4, 2, 1].map((part) => Math.ceil(order.length / part)))].filter((size) => size > 1);
  const told: { readonly points: number; readonly error: number; readonly right?: number | undefined }[] = [];
  let last: CrossValidation | undefined;
  for (const [at, size] of sizes.entries()) {
    const rows = order.slice(0, size);
    last = await crossValidated(runtime, kernel, [x, y.values], rows, ridges, controlOf(control, at, sizes.length));
    const own = last.ridges.indexOf(used > 0 ? used : last.best);
    // Predictions are those of the best ridge.
    const labels = y.labels && Int32Array.from(rows, (row) => y.labels![row]!);
    const right = labels && errorsOf(last.predictions, { values: taken(y.values, rows), labels }).right;
    told.push({ points: size, error: last.errors[own] as number, ...(right !== undefined && { right }) });
  }
  if (!last) return undefined;
  const { errors, freedom, eigenvalues } = last;
  return {
    points: order.length,
    ridges: ridges.map((ridge, at) => ({ ridge, error: errors[at]!, freedom: freedom[at]! })),
    sizes: told,
    eigenvalues: [...eigenvalues],
  };
}

type Host = Points['x'];

function taken({ shape, data }: Host, rows: readonly number[]): Host {
  const width = shape[1] as number;
  const own = new Float32Array(rows.length * width);
  for (const [at, row] of rows.entries()) own.set(data.subarray(row * width, (row + 1) * width), at * width);
  return { dtype: 'f32', shape: [rows.length, width], data: own };
}

async function crossValidated(
  runtime: Runtime,
  kernel: Kernel,
  [x, y]: readonly [Host, Host],
  rows: readonly number[],
  ridges: readonly number[],
  control: Control,
): Promise<CrossValidation> {
  using points = runtime.fromHost(taken(x, rows));
  using targets = runtime.fromHost(taken(y, rows));
  return await crossValidateKernelRidge(kernel, points, targets, { ridges, ...control });
}

interface Told {
  readonly method: string;
  readonly points: number | undefined;
  readonly params: EstimatorParams['params'];
  readonly fit: Readonly<Record<string, number>>;
  readonly test: { readonly error: number; readonly right?: number } | undefined;
}

function linesOf({ method, points, params, fit, test }: Told, report: Report | undefined): string[] {
  const told = { ...('ridge' in params && { ridge: params.ridge as number }), ...fit };
  const facts = Object.entries(told).map(([name, value]) => `${name} ${significant(value)}`);
  return [
    `${method}, ${[`${points} points`, ...facts].join(', ')}`,
    ...(test ? [`Test: mean squared error ${significant(test.error)}${rightOf(test.right)}`] : []),
    ...(report ? ['', ...tablesOf(report), ''] : []),
  ];
}

const rightOf = (right: number | undefined) => (right === undefined ? '' : `, ${formatPercent(right)} right`);

function tablesOf({ points, ridges, sizes, eigenvalues }: Report): string[] {
  const classes = sizes.some((size) => size.right !== undefined);
  const sum = eigenvalues.reduce((total, each) => total + Math.max(each, 0), 0);
  let so = 0;
  const spectrum = eigenvalues.slice(0, TOLD_EIGENVALUES).map((value, at) => {
    so += value;
    return [`${at + 1}`, significant(value), formatPercent(so / sum)];
  });
  return [
    `Each left out in turn, of ${points} points:`,
    formatTable(
      [right('ridge'), right('error'), right('degrees of freedom')],
      ridges.map(({ ridge, error, freedom }) => [ridge, error, freedom].map(significant)),
    ),
    '',
    formatTable(
      [right('points'), right('error'), ...(classes ? [right('right, best ridge')] : [])],
      sizes.map(({ points, error, right }) => [
        String(points),
        significant(error),
        ...(right === undefined ? [] : [formatPercent(right)]),
      ]),
    ),
    '',
    formatTable([right('eigenvalue'), right('value'), right('of the sum so far')], spectrum),
  ];
}
