/** A worker thread, in Node and in browsers: sleeps until a job is published, takes its share, sleeps again. */
import { CONTROL, CONTROL_LENGTH, EPOCH, FINISHED, type Kernels, spin, work } from './schedule';

export interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly scratch: number;
  readonly threads: number;
}

interface Port {
  postMessage(message: string): void;
  addEventListener(type: 'message', listener: (event: { data: WorkerStart }) => void): void;
}

// The first message comes to the parent's port in Node, to the worker's own scope in browsers.
const node = globalThis.process?.getBuiltinModule?.('node:worker_threads');
if (node?.parentPort) node.parentPort.once('message', start);
else (globalThis as unknown as Port).addEventListener('message', ({ data }) => start(data));

function start({ module, memory, scratch, threads }: WorkerStart): void {
  const port = (node?.parentPort ?? globalThis) as Port;
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernels;
  const control = new Int32Array(memory.buffer, CONTROL, CONTROL_LENGTH);
  let epoch = Atomics.load(control, EPOCH);
  port.postMessage('ready');
  for (;;) {
    spin(control, EPOCH, (epoch + 1) | 0);
    Atomics.wait(control, EPOCH, epoch);
    const published = Atomics.load(control, EPOCH);
    if (published === epoch) continue;
    epoch = published;
    work(kernels, control, scratch);
    if (Atomics.add(control, FINISHED, 1) + 1 === threads) port.postMessage('done');
  }
}
