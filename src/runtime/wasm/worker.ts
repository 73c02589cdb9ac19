/** A worker thread, in Node and in browsers: sleeps until a job is published, works at it, sleeps again. */
import { type Kernel, kernelsAt, type NativeThread } from '../native/calls';
import {
  CONTROL,
  CONTROL_LENGTH,
  EPOCH,
  EPOCH_OF_FIRST,
  instantiate,
  openTable,
  publishedModule,
  type Share,
  spin,
  workAsWorker,
} from './schedule';

export interface WorkerStart {
  readonly memory: WebAssembly.Memory;
  readonly index: number;
  /** In a page, the name of a lock that the thread holds until it ends for any reason. */
  readonly lock?: string | undefined;
  /** What machine code needs, if there may be any. */
  readonly native?: NativeThread | undefined;
}

interface Port {
  postMessage(message: string): void;
  addEventListener(type: 'message', listener: (event: { data: WorkerStart }) => void): void;
}

// The first message comes to the parent port in Node, to the global scope in browsers.
const node = globalThis.process?.getBuiltinModule?.('node:worker_threads');
if (node?.parentPort) node.parentPort.once('message', start);
else (globalThis as unknown as Port).addEventListener('message', ({ data }) => start(data));

function start({ memory, index, lock, native }: WorkerStart): void {
  const work = () => serve(memory, index, kernelsAt(native));
  const hold = () => {
    // In a task of its own, since only what tasks throw is an error event of the worker.
    setTimeout(work);
    return new Promise<never>(() => {});
  };
  if (lock) navigator.locks.request(lock, hold).catch(hold);
  else work();
}

function serve(memory: WebAssembly.Memory, index: number, codeAt: Share['codeAt']): void {
  const port = (node?.parentPort ?? globalThis) as Port;
  const control = new Int32Array(memory.buffer, CONTROL, CONTROL_LENGTH);
  const at = index === 0 ? EPOCH_OF_FIRST : EPOCH;
  const table = openTable();
  const modules = new Map<number, readonly Kernel[]>();
  const kernelsOf = ({ address, length }: ReturnType<typeof publishedModule>['operations'] & object) => {
    let kernels = modules.get(address);
    if (!kernels) {
      // From a copy, since shared memory cannot be compiled.
      const module = new WebAssembly.Module(new Uint8Array(memory.buffer, address, length).slice());
      kernels = instantiate(module, memory, table, codeAt).kernels;
      modules.set(address, kernels);
    }
    return kernels;
  };
  const share = (): Share => {
    const { operations, ...module } = publishedModule(control);
    if (operations) kernelsOf(operations);
    return { kernels: kernelsOf(module), codeAt, scratch: module.scratch + (index + 1) * module.scratchBytes };
  };
  let epoch = Atomics.load(control, at);
  port.postMessage('ready');
  for (;;) {
    spin(control, at, (epoch + 1) | 0);
    Atomics.wait(control, at, epoch);
    const published = Atomics.load(control, at);
    if (published === epoch) continue;
    epoch = published;
    if (workAsWorker(share, control)) port.postMessage('done');
  }
}
