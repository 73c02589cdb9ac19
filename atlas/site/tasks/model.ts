/// <reference types="vite/client" />
/** Models on the samples that they declare, with random weights, the same on every backend. */
import { summarise } from '../../../src/measure/statistics';
import { timeCalls, timeInterleaved } from '../../../src/measure/timing';
import { disposeResults, settled } from '../../../src/methods/outputs';
import type { Numbers } from '../../../src/methods/page';
import { isPublishedWith, type Model } from '../../../src/models/define';
import { fillStart } from '../../../src/nn/module';
import { createRuntime } from '../../../src/ops/create-runtime';
import type { BackendName } from '../../../src/runtime/backend';
import type { Runtime } from '../../../src/runtime/runtime';
import type { DType } from '../../../src/tensor/dtype';
import { type HostTensor, hostTensor, toFloat64 } from '../../../src/tensor/host';
import { normal } from '../../../src/tensor/random';
import { sizeOf } from '../../../src/tensor/shape';
import type { Tensor } from '../../../src/tensor/tensor';
import { formatPercent } from '../../../src/text/format';
import type { TaskControl } from '../answer';
import { isPicture, pictureShown, shownAs } from '../shown';
import { numbersOf, type Outputs } from './outputs';
import { BACKENDS, largestError, PLAN, type RunOptions, type RunReport, type RunResult } from './run';
import { knownMethod, loadMethod, type Setting } from './setting';

type Hosts = Readonly<Record<string, HostTensor>>;

const modules = import.meta.glob<Record<string, unknown>>([
  '../../../src/models/{vision/*,*/model}.ts',
  '!../../../src/models/**/*.test.ts',
]);

/**
 * Loads a model, whose module or folder has its name, so that a page fetches no other. One that takes methods by their names,
 * a function of what knows them, gets those that its params name.
 */
async function modelOf({ method: name, params }: Setting): Promise<Model> {
  const path = Object.keys(modules).find((path) => new RegExp(`/${name}(/model)?\\.ts$`).test(path))!;
  const [module] = await Promise.all([
    modules[path](),
    ...[...JSON.stringify(params).matchAll(/"([\w-]+)"/g)].map(([, word]) => loadMethod(word)),
  ]);
  const { [`${name}ModelOf`]: modelOf, ...rest } = module;
  if (modelOf) return (modelOf as (methodOf: typeof knownMethod) => Model)(knownMethod);
  return Object.values(rest).find((each) => (each as Model).name === name) as Model;
}

/** Throws what is wrong with its params, if anything is. */
export async function checkModel({ setting }: { readonly setting: Setting }): Promise<void> {
  (await modelOf(setting)).create(setting.params);
}

/** What the page of a model opens with, from the build. */
export interface Published {
  readonly params: Setting['params'];
  /** A picture in place of that of the sample. */
  readonly inputs?: { readonly x: Numbers };
  /** Those of published weights. */
  readonly results?: Readonly<Record<string, Numbers>>;
}
const published = import.meta.glob<Published>('../published/*.generated.json', { import: 'default' });
const storedOf = ({ name }: Model): Promise<Published> | undefined =>
  published[`../published/${name}.generated.json`]?.();

/** Those of the sample, but for its picture: as the trained network takes it, or enlarged for others. */
async function inputsOf(model: Model, setting: Setting): Promise<Hosts> {
  const sample = model.sample().inputs as Hosts;
  const { x } = (await storedOf(model))?.inputs ?? {};
  if (!x) return sample;
  const [, , height, width] = x.shape;
  const [rows, columns] = isTrained(model, setting) ? [height, width] : sample.x.shape.slice(2);
  const data = Float32Array.from({ length: 3 * rows * columns }, (_, at) => {
    const [line, column] = [Math.floor(at / columns), at % columns];
    const row = Math.floor(((line % rows) * height) / rows);
    return x.data[(Math.floor(line / rows) * height + row) * width + Math.floor((column * width) / columns)];
  });
  return { ...sample, x: hostTensor(data, [1, 3, rows, columns]) };
}

/** Pictures in the sample, then what the model makes of its outputs, and these as they are shown, pictures first. */
export async function modelShown({ setting }: { readonly setting: Setting }): Promise<Outputs> {
  const model = await modelOf(setting);
  const sampled = Object.entries(await inputsOf(model, setting)).filter(([name]) => isPicture(model.inputs[name]));
  const pictures = sampled.map(([name, host]) => shownAs(name, model.inputs[name], { ...host, data: toFloat64(host) }));
  const { params, results: stored } = (await storedOf(model)) ?? {};
  const [opening, chosen] = [params, setting.params].map((each) => JSON.stringify(each && model.parse(each)));
  const isStored = stored !== undefined && opening === chosen;
  const results = isStored ? stored : await computedNumbers(model, setting);
  const shown = Object.entries(results)
    .map(([name, numbers]) => shownAs(name, model.outputs[name], { dtype: 'f32', ...numbers }))
    .sort((a, b) => Number(b.kind === 'picture') - Number(a.kind === 'picture'));
  return {
    shown: [...pictures, ...(model.pictures?.(results).map(pictureShown) ?? []), ...shown],
    said:
      isStored || isTrained(model, setting)
        ? 'Computed by the library with trained weights.'
        : 'Untrained: computed by the library with random weights at the setting chosen, so that the map shows the mechanism only.',
  };
}

async function computedNumbers(model: Model, setting: Setting) {
  const { results } = await computed(model, setting, 'wasm', await weightsOf(model, setting), async (outputs) =>
    Promise.all(
      Object.entries(outputs).map(
        async ([name, output]) => [name, { dtype: output.dtype, ...(await numbersOf(output)) }] as const,
      ),
    ),
  );
  return Object.fromEntries(results);
}

/** Runs a model on every backend here: its time, and its error against the reference in float64. */
export async function runModel(
  { setting, backends = BACKENDS }: RunOptions,
  { signal, report }: TaskControl,
): Promise<RunReport> {
  const rows: RunResult[] = [];
  const model = await modelOf(setting);
  report({ said: 'fetching weights', rows });
  const weights = await weightsOf(model, setting);
  report({ said: 'computing in float64', rows });
  const { results: wanted } = await computed(model, setting, 'reference', weights, async (outputs) => {
    const read = Object.entries(outputs).map(async ([name, output]) => {
      const host = (await output.toHost()) as HostTensor;
      return [name, { data: toFloat64(host) }] as const;
    });
    return Object.fromEntries(await Promise.all(read));
  });
  for (const backend of backends) {
    const tell = (what: string) => report({ said: `${backend}: ${what}`, rows });
    tell('starting');
    try {
      const { results: error, ...times } = await computed(
        model,
        setting,
        backend,
        weights,
        (outputs) => largestError(outputs, wanted),
        (runtime, call) => measured(runtime, call, { signal, report: tell }),
      );
      rows.push({ backend, error, checked: 'on the sample', ...times });
    } catch (error) {
      signal?.throwIfAborted();
      rows.push({ backend, failure: error instanceof Error ? error.message : String(error) });
    }
  }
  return { inputs: isTrained(model, setting) ? 'With trained weights.' : 'Untrained: with random weights.', rows };
}

/** A prime, so that rows of matrices differ. */
const RANDOM_NUMBERS = 65_537;

/** Whether a page has weights of it; those of the sentence encoder lie in a package of npm. */
const isTrained = (model: Model, { params }: Setting) => isPublishedWith(model, params) && model.inputs.x !== undefined;

/** Those that are published, or as training starts from, but of few random numbers again and again: millions of them take half a second. */
async function weightsOf(model: Model, setting: Setting): Promise<Hosts> {
  if (isTrained(model, setting)) return (await model.published!.load()).tensors;
  const numbers = normal(RANDOM_NUMBERS, 1);
  let next = 0;
  const entries = Object.entries(model.create(setting.params).parameters).map(([name, { shape, initial }]) => {
    const values = new Float32Array(sizeOf(shape));
    if ('std' in initial)
      for (let at = 0; at < values.length; at++, next++) values[at] = initial.std * numbers[next % RANDOM_NUMBERS];
    else fillStart(values, initial, 0);
    return [name, hostTensor(values, shape)] as const;
  });
  return Object.fromEntries(entries);
}

/** What is read of the outputs on a backend, and what is measured of calls. */
async function computed<R, M extends object>(
  model: Model,
  setting: Setting,
  backend: BackendName,
  weights: Hosts,
  read: (outputs: Readonly<Record<string, Tensor>>) => Promise<R>,
  measure?: (runtime: Runtime, call: () => void) => Promise<M>,
): Promise<{ readonly results: R } & Partial<M>> {
  using runtime = await createRuntime({ backend });
  const created = model.create(setting.params);
  const parameters = created.load(runtime, weights);
  const hosts = Object.entries(await inputsOf(model, setting));
  const inputs = Object.fromEntries(hosts.map(([name, host]) => [name, runtime.fromHost(host as HostTensor<DType>)]));
  const forward = () => created.forward(inputs, parameters);
  const outputs = await settled(forward());
  const results = await read(outputs);
  disposeResults(outputs);
  return { results, ...(await measure?.(runtime, () => disposeResults(forward()))) } as { readonly results: R } & M;
}

async function measured(
  runtime: Runtime,
  call: () => void,
  { signal, report }: { readonly signal: AbortSignal | undefined; report(what: string): void },
): Promise<Pick<RunResult, 'time' | 'memory' | 'explain'>> {
  const { backend } = runtime;
  backend.resetPeak();
  const before = backend.memory().live;
  const estimate = await timeCalls(runtime, call);
  const memory = backend.memory().peak - before;
  const [own] = await timeInterleaved(runtime, [call], [estimate], PLAN, {
    signal,
    onProgress: (share) => report(`measuring, ${formatPercent(share)}`),
  });
  return { time: summarise(own).median, memory, explain: runtime.explain() };
}
