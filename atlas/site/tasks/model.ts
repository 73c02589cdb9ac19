/// <reference types="vite/client" />
/** Models on the samples that they declare, with random weights, the same on every backend. */
import { summarise } from '../../../src/measure/statistics';
import { timeCalls, timeInterleaved } from '../../../src/measure/timing';
import { disposeResults, settled } from '../../../src/methods/outputs';
import type { Model } from '../../../src/models/define';
import { createRuntime } from '../../../src/ops/create-runtime';
import type { BackendName } from '../../../src/runtime/backend';
import type { Runtime } from '../../../src/runtime/runtime';
import type { DType } from '../../../src/tensor/dtype';
import { type HostTensor, toFloat64 } from '../../../src/tensor/host';
import type { Tensor } from '../../../src/tensor/tensor';
import { formatPercent } from '../../../src/text/format';
import type { TaskControl } from '../answer';
import { isPicture, type Shown, shownAs } from '../shown';
import { shownTensor } from './outputs';
import { BACKENDS, largestError, PLAN, type RunOptions, type RunReport, type RunResult } from './run';
import type { Setting } from './setting';

type Hosts = Readonly<Record<string, HostTensor>>;

const modules = import.meta.glob<Record<string, unknown>>([
  '../../../src/models/{*,vision/*,universal-sentence-encoder/model}.ts',
  '!**/{index,registry,*.test}.ts',
]);

/** Loads a model, whose module begins with its name, so that a page fetches no other. */
async function modelOf(name: string): Promise<Model> {
  const path = Object.keys(modules).find((path) => new RegExp(`/${name}(-model|/model)?\\.ts$`).test(path))!;
  return Object.values(await modules[path]()).find((each) => (each as Model).name === name) as Model;
}

/** Throws what is wrong with its params, if anything is. */
export async function checkModel({ setting: { method, params } }: { readonly setting: Setting }): Promise<void> {
  (await modelOf(method)).create(params);
}

/** Pictures in the sample, then the outputs on it as they are shown, pictures first. */
export async function modelShown({ setting }: { readonly setting: Setting }): Promise<Shown[]> {
  const model = await modelOf(setting.method);
  const sampled = Object.entries(model.sample().inputs as Hosts).filter(([name]) => isPicture(model.inputs[name]));
  const pictures = sampled.map(([name, host]) => shownAs(name, model.inputs[name], { ...host, data: toFloat64(host) }));
  const { results } = await computed(model, setting, 'wasm', await weightsOf(model, setting), async (outputs) =>
    Promise.all(Object.entries(outputs).map(([name, output]) => shownTensor(name, model.outputs[name], output))),
  );
  return [...pictures, ...results.sort((a, b) => Number(b.kind === 'picture') - Number(a.kind === 'picture'))];
}

/** Runs a model on every backend here: its time, and its error against the reference in float64. */
export async function runModel(
  { setting, backends = BACKENDS }: RunOptions,
  { signal, report }: TaskControl,
): Promise<RunReport> {
  const rows: RunResult[] = [];
  const model = await modelOf(setting.method);
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
  return { inputs: 'The sample, with random weights.', rows };
}

async function weightsOf(model: Model, { params }: Setting): Promise<Hosts> {
  using runtime = await createRuntime({ backend: 'wasm' });
  const entries = Object.entries(model.create(params).initialize(runtime, { seed: 1 })).map(
    async ([name, tensor]) => [name, await tensor.toHost()] as const,
  );
  return Object.fromEntries(await Promise.all(entries));
}

/** What is read of the outputs on a backend, and what is measured of calls. */
async function computed<R, M extends object>(
  model: Model,
  { params }: Setting,
  backend: BackendName,
  weights: Hosts,
  read: (outputs: Readonly<Record<string, Tensor>>) => Promise<R>,
  measure?: (runtime: Runtime, call: () => void) => Promise<M>,
): Promise<{ readonly results: R } & Partial<M>> {
  using runtime = await createRuntime({ backend });
  const created = model.create(params);
  const parameters = created.load(runtime, weights);
  const hosts = Object.entries(model.sample().inputs);
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
