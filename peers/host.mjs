/**
 * The process in which one peer runs, a module beside this one or at a URL: `host.mjs PEER MEMORY_LIMIT`. The parent sends
 * { id, question, ... } over IPC and gets { id, value } or { id, error } back. A peer module exports
 *   open({ threads })            loads it; resolves to { threads, prepare }, with the threads it really uses
 *   prepare({ q, k, v, ... })    its own tensors, in the layout it prefers; resolves to { run, result }
 *   run()                        one call; resolves when the result is complete
 *   products                     how many calls a run is; default 1
 *   result()                     the last call's result as float32, of attention [n, h, d]
 *   memory()                     bytes that it holds at most, where the process does not tell: on a GPU
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';

const [, , name, memoryLimit] = process.argv;
let peer;
let call;
let memoryAtStart;
let largestSeen = 0;

const answers = {
  async open(settings) {
    const { open } = await import(name.startsWith('file:') ? name : `./${name}.mjs`);
    peer = await open(settings);
    return { threads: peer.threads };
  },
  /** `inputs` is a safetensors file: for attention of q, k and v, whose mask is [left, right], -1 for unbounded. */
  async prepare({ inputs, ...settings }) {
    const numbers = readNumbers(inputs);
    memoryAtStart = { now: process.memoryUsage.rss(), peak: peakMemory() };
    call = await peer.prepare({ ...numbers, ...settings });
  },
  async run({ calls }) {
    const start = performance.now();
    for (let i = 0; i < calls; i++) await call.run();
    const elapsed = performance.now() - start;
    largestSeen = Math.max(largestSeen, process.memoryUsage.rss());
    return elapsed / calls / (call.products ?? 1);
  },
  /** Into a file, float32. */
  async result({ path }) {
    const numbers = await call.result();
    writeFileSync(path, new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength));
  },
  /** Bytes that preparing and running added at most; the high-water mark counts only if it rose since then. */
  memory: () => call.memory?.() ?? (peakMemory() > memoryAtStart.peak ? peakMemory() : largestSeen) - memoryAtStart.now,
};

process.on('message', async ({ id, question, ...parameters }) => {
  try {
    process.send({ id, value: await answers[question](parameters) });
  } catch (error) {
    process.send({ id, error: error instanceof Error ? error.message : String(error) });
  }
});
process.on('disconnect', () => process.exit());

// A thread of its own sees the memory grow while a peer computes, and ends the process before the machine suffers.
new Worker(
  `const { writeSync } = require('node:fs');
  setInterval(() => {
    if (process.memoryUsage.rss() < ${memoryLimit}) return;
    writeSync(2, 'out of memory: it took more than ${(memoryLimit / 2 ** 30).toFixed(1)} GiB\\n');
    process.kill(process.pid, 'SIGKILL');
  }, 50);`,
  { eval: true },
).unref();

/** The numbers of a safetensors file's tensors, by name. */
function readNumbers(path) {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const places = Object.entries(JSON.parse(bytes.toString('utf8', 8, start)));
  return Object.fromEntries(
    places.map(
      ([
        name,
        {
          dtype,
          data_offsets: [from, to],
        },
      ]) => {
        const Numbers = { F32: Float32Array, I32: Int32Array }[dtype];
        return [name, new Numbers(bytes.buffer, bytes.byteOffset + start + from, (to - from) / 4)];
      },
    ),
  );
}

/** The high-water mark of this process; on Linux `maxRSS` would also count what the parent held when it forked. */
function peakMemory() {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  const [, kibibytes] = readFileSync('/proc/self/status', 'utf8').match(/VmHWM:\s+(\d+) kB/);
  return Number(kibibytes) * 1024;
}
