/** The script of the pages in which contenders run, and of the one that shows them as frames in a user's browser. */
import { describeMachine } from '../../machine';
import { createRuntime, type RuntimeOptions } from '../../ops/create-runtime';
import { describeAdapter, isSoftware } from '../../runtime/webgpu/adapter';
import type { Session } from '../contender';
import { givenOf } from '../given';
import { type Inputs, inputsOf, MASKS, type Problem } from '../problem';
import { Runtimes, runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { problemOfTraining } from '../trainings';
import { watchGpu } from './gpu-failures';
import type { Answer, Opening, PageFacts, Question, QuestionName } from './protocol';

/** What a module of `peers/` exports (`peers/host.mjs` says more). */
interface Peer {
  open(settings: { threads: number; backend: string }): Promise<{
    readonly threads?: number;
    prepare(problem: object): Promise<{ run(): unknown; result(): Promise<Float32Array> }>;
  }>;
}

const never = new AbortController().signal;
const gpu = watchGpu();
let session: Session | undefined;

const answers: Partial<Record<QuestionName, (ask: never) => unknown>> = {
  describe,
  async open(opening: Opening) {
    say(`${opening.peer ?? 'saccade'} on ${opening.backend}, n = ${opening.problem.n}, ${opening.problem.mask}`);
    const { training, problem: asked } = opening;
    const problem: Problem = training ? problemOfTraining(training) : { ...asked, mask: MASKS[asked.mask] };
    const inputs = inputsOf(problem);
    session = await (opening.peer === undefined ? openSaccade : openPeer)(opening, problem, inputs);
    return { threads: session.threads };
  },
  time: ({ calls }: { calls: number }) => session?.time(calls, never),
  result: () => session?.result(never),
  memory: () => session?.memory(never),
  show({ id, path }: { id: string; path: string }) {
    const frame = document.createElement('iframe');
    frame.id = id;
    frame.allow = 'cross-origin-isolated';
    frame.src = `${location.protocol}//${id}.${location.host}${path}`;
    document.body.append(frame);
  },
  hide: ({ id }: { id: string }) => document.getElementById(id)?.remove(),
};

/** Answers the questions of the channel at this path until the page is closed. */
export function serve(channel: string): void {
  const source = new EventSource(`${channel}/questions`);
  source.onerror = () => {
    source.close();
    say('The benchmark is over.');
  };
  source.onmessage = async ({ data }) => {
    const { id, question, ask } = JSON.parse(data) as Question;
    const answer = await answerTo(question, ask);
    const binary = answer instanceof Float32Array;
    await fetch(`${channel}/answers/${id}`, {
      method: 'POST',
      headers: { 'Content-Type': binary ? 'application/octet-stream' : 'application/json' },
      body: binary ? (answer.slice().buffer as ArrayBuffer) : JSON.stringify(answer),
    });
  };
}

/** An error that the GPU reports outside the call that caused it counts as that call's failure. */
async function answerTo(question: QuestionName, ask: unknown): Promise<Answer | Float32Array> {
  try {
    const value = await Promise.race([answers[question]?.(ask as never), gpu.lost]);
    gpu.check();
    return value instanceof Float32Array ? value : { value };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

function openSaccade({ backend, threads, simd }: Opening, problem: Problem, inputs: Inputs): Promise<Session> {
  const options = runtimeOptions({ backend, threads, simd });
  // As the peers' calls do on a GPU.
  const readsBack = backend === 'webgpu';
  return saccade(new Runtimes(), options, { readsBack }).open({ problem, inputs }, never);
}

async function openPeer({ peer, backend, threads }: Opening, problem: Problem, inputs: Inputs): Promise<Session> {
  const { open } = (await import(/* @vite-ignore */ `/peers/${peer}.mjs`)) as Peer;
  const opened = await open({ threads, backend });
  const { tensors, settings } = givenOf({ problem, inputs });
  const numbers = Object.fromEntries(Object.entries(tensors).map(([name, { data }]) => [name, data]));
  const call = await opened.prepare({ ...numbers, ...settings });
  return {
    threads: opened.threads,
    async time(calls) {
      const start = performance.now();
      for (let i = 0; i < calls; i++) await call.run();
      return (performance.now() - start) / calls;
    },
    result: () => call.result(),
    memory: async () => undefined,
    close() {},
  };
}

async function describe(options: RuntimeOptions): Promise<PageFacts> {
  const info = (await navigator.gpu?.requestAdapter())?.info;
  const isolation = crossOriginIsolated ? [] : ['the page is not cross-origin isolated, so there are no threads'];
  const software = info && isSoftware(info);
  return {
    machine: await describeMachine(),
    facts: [
      ...(await wasmFacts(options)),
      info
        ? `GPU: ${describeAdapter(info)}${software ? ', in software' : ''}`
        : 'GPU: the browser offers no WebGPU adapter',
      ...isolation,
    ],
    softwareGpu: software,
  };
}

async function wasmFacts(options: RuntimeOptions): Promise<readonly string[]> {
  const runtime = await createRuntime({ ...options, backend: 'wasm' });
  const facts = runtime.backend.explain();
  runtime.dispose();
  return facts;
}

function say(text: string): void {
  document.body.textContent = text;
}
