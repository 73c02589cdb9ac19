// Each block of queries chooses the eight blocks of keys that are nearest to it, head by head, on the device.
import { attention, createRuntime, matmul, mean, topK } from 'saccade';

using runtime = await createRuntime();
const [n, h, d, block] = [4096, 8, 64, 64];
const q = runtime.random([1, n, h, d], { seed: 1 });
const k = runtime.random([1, n, h, d], { seed: 2 });
const v = runtime.random([1, n, h, d], { seed: 3 });

const blocks = [1, n / block, block, h, d];
const meanQ = mean(q.reshape(blocks), { axes: [2] }); // [1, blocks, h, d]
const meanK = mean(k.reshape(blocks), { axes: [2] });
const routes = matmul(meanQ.permute([0, 2, 1, 3]), meanK.permute([0, 2, 3, 1])); // [1, h, blocks, blocks]
const { indices } = topK(routes, 8);
const { out } = attention(q, k, v, { selection: { lists: indices, queryBlock: block, keyBlock: block } });

console.log(`results [${out.shape}], each from ${indices.shape.at(-1)} of ${n / block} blocks of keys`);

// Prints:
// results [1,4096,8,64], each from 8 of 64 blocks of keys
