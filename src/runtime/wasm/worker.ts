/** A worker thread, in Node and in browsers: sleeps until a job is published, takes its share, sleeps again. */
import { CONTROL, CONTROL_LENGTH, EPOCH, EPOCH_OF_FIRST, type Kernels, spin, workAsWorker } from './schedule';

export interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly scratch: number;
  readonly index: number;
}

interface Port {
  postMessage(message: string): void;
  addEventListener(type: 'message', listener: (event: { data: WorkerStart }) => void): void;
}

// The first message comes to the parent's port in Node, to the worker's own scope in browsers.
const node = globalThis.process?.getBuiltinModule?.('node:worker_threads');
if (node?.parentPort) node.parentPort.once('message', start);
else (globalThis as unknown as Port).addEventListener('message', ({ data }) => start(data));

function start({ module, memory, scratch, index }: WorkerStart): void {
  const port = (node?.parentPort ?? globalThis) as Port;
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernels;
  const control = new Int32Array(memory.buffer, CONTROL, CONTROL_LENGTH);
  const at = index === 0 ? EPOCH_OF_FIRST : EPOCH;
  let epoch = Atomics.load(control, at);
  port.postMessage('ready');
  for (;;) {
    spin(control, at, (epoch + 1) | 0);
    Atomics.wait(control, at, epoch);
    const published = Atomics.load(control, at);
    if (published === epoch) continue;
    epoch = published;
    if (workAsWorker(kernels, control, scratch)) port.postMessage('done');
  }
}
